import { Router } from 'express'
import type { Vendor, VendorParts } from './vendor'

/** Every provider that the sandbox can play. */
export const vendors: readonly Vendor[] = []

const prefixOf = ({ name }: Pick<Vendor, 'name'>): string =>
  `${name.toUpperCase().replaceAll('-', '_')}_`

/** The variables that point the product's accounts of these names at their fakes in a sandbox. */
export function variablesFor(
  sandboxUrl: string,
  played: readonly Vendor[] = vendors,
): Record<string, string> {
  return Object.fromEntries(
    played.flatMap((vendor) =>
      Object.entries(vendor.settings(`${sandboxUrl}/vendors/${vendor.name}`)).map(
        ([name, value]) => [prefixOf(vendor) + name, value],
      ),
    ),
  )
}

/** Settings of a vendor out of the environment: those of the product's account of the same name. */
export function settingsOf(
  vendor: Pick<Vendor, 'name'>,
  variables: Readonly<Record<string, string | undefined>>,
): VendorParts['settings'] {
  const prefix = prefixOf(vendor)
  return Object.fromEntries(
    Object.entries(variables)
      .filter(([variable, value]) => variable.startsWith(prefix) && value)
      .map(([variable, value]) => [variable.slice(prefix.length), value]),
  )
}

/** All of them, each at `/vendors/{name}`. */
export function vendorRoutes(
  partsOf: (vendor: Vendor) => VendorParts,
  played: readonly Vendor[] = vendors,
): Router {
  const router = Router()
  for (const vendor of played) router.use(`/vendors/${vendor.name}`, vendor.routes(partsOf(vendor)))
  return router
}
