import { Router } from 'express'
import { africasTalking } from './africas-talking'
import { arkesel } from './arkesel'
import { hcaptcha } from './hcaptcha'
import { infobip } from './infobip'
import { meta } from './meta'
import { turnstile } from './turnstile'
import { twilio } from './twilio'
import { smtp } from './smtp'
import type { Vendor, VendorParts } from './vendor'
import { vonage } from './vonage'

/** Every provider that the sandbox can play. */
export const vendors: readonly Vendor[] = [
  africasTalking,
  arkesel,
  infobip,
  meta,
  smtp,
  twilio,
  vonage,
]

/** Those that deliver nothing: they tell people from programs. */
export const challengeVendors: readonly Vendor[] = [hcaptcha, turnstile]

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

/** Those that are not reached by HTTP; `ready` rejects with one sentence when one cannot listen. */
export function listenToVendors(partsOf: (vendor: Vendor) => VendorParts) {
  const listeners = vendors.flatMap((vendor) => vendor.listen?.(partsOf(vendor)) ?? [])
  return {
    ready: Promise.all(listeners.map((listener) => listener.ready)),
    close: () => Promise.all(listeners.map((listener) => listener.close())),
  }
}

/** All of them, each at `/vendors/{name}`. */
export function vendorRoutes(
  partsOf: (vendor: Vendor) => VendorParts,
  played: readonly Vendor[] = [...vendors, ...challengeVendors],
): Router {
  const router = Router()
  for (const vendor of played) {
    const parts = partsOf(vendor)
    const base = `/vendors/${vendor.name}`
    if (vendor.health !== undefined)
      router.get(base + vendor.health, (_req, res, next) => {
        const status = parts.outage()
        if (status === undefined) next()
        else res.status(status).json({})
      })
    router.use(base, vendor.routes(parts))
  }
  return router
}
