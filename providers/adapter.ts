import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Channel } from '../core/channel'
import type { CodeTable } from './error-codes'
import type { ProviderAccount } from './provider'

/** Environment variables by name. */
export type Variables = Readonly<Record<string, string | undefined>>

/** An account as the policy file describes it, without its secrets. */
export interface AccountBase {
  /** The account's name in policy, tables and callback paths. */
  name: string
  /** What it may serve; an adapter serves of them what its settings suffice for. */
  channels: readonly Channel[]
  test: boolean
  region?: string | undefined
  /** Channels on which the provider may make codes of its own; none unless said. */
  delegated?: readonly Channel[] | undefined
}

/** What an adapter is given beside its settings. */
export interface AdapterIo {
  dispatcher: Dispatcher
}

/** The code that speaks one provider's API: everything that the registry needs to know of it. */
export interface Adapter<Settings = unknown> {
  name: string
  /** The channels that it can serve at all. */
  channels: readonly Channel[]
  /**
   * The account's variables without their prefix: an account `twilio-uk` reads `AUTH_TOKEN` from
   * `TWILIO_UK_AUTH_TOKEN`.
   */
  settings: z.ZodType<Settings> & { shape: Record<string, z.ZodType> }
  /** What each error code of the provider's is about (docs/providers/error-codes.md), in answers and in reports. */
  codes: CodeTable
  /** For adapters whose accounts all read the same variables, whatever their names. */
  prefix?: string
  /** `channels` of what comes back are those that the settings suffice for. */
  create(account: AccountBase, settings: Settings, io: AdapterIo): ProviderAccount
}

/** Keeps the settings' type between an adapter's two halves. */
export const adapter = <Settings>(definition: Adapter<Settings>): Adapter<Settings> => definition

/** Where a provider's API is, settable so that a mock can be put in its place; without a slash at its end. */
export const baseUrl = (usual: string) =>
  z
    .url({ protocol: /^https?$/, error: 'must be an http or https address' })
    .default(usual)
    .transform((url) => url.replace(/\/+$/, ''))

/** One secret, or two separated by a blank while one is being replaced. */
export const secrets = z
  .string()
  .regex(/^\S+( \S+)?$/, 'must be one secret, or two separated by a blank')
  .transform((text) => text.split(' '))

/** A list separated by commas; empty when absent. */
export const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )

/** The prefix of an account's variables: `TWILIO_UK_` for `twilio-uk`. */
export const prefixOf = ({ prefix }: Pick<Adapter, 'prefix'>, { name }: { name: string }): string =>
  `${prefix ?? name.toUpperCase().replaceAll('-', '_')}_`

/** What the environment says of one account. */
export type SettingsReading<Settings> =
  | { settings: Settings }
  /** Names of variables that are needed and not set. */
  | { missing: string[]; given: string[] }
  /** One sentence for each variable that cannot be used; never its value. */
  | { faults: string[] }

/** Reads an account's settings; an empty variable counts as absent. */
export function readSettings<Settings>(
  adapter: Adapter<Settings>,
  account: { name: string },
  variables: Variables,
): SettingsReading<Settings> {
  const prefix = prefixOf(adapter, account)
  const given = Object.keys(adapter.settings.shape).filter((name) => variables[prefix + name])
  const { success, data, error } = adapter.settings.safeParse(
    Object.fromEntries(given.map((name) => [name, variables[prefix + name]])),
  )
  if (success) return { settings: data }
  const faults = error.issues
    .filter(({ path: [name] }) => name === undefined || given.includes(String(name)))
    .map(({ path: [name = ''], message }) => `${prefix}${String(name)}: ${message}`)
  if (faults.length > 0) return { faults }
  const missing = error.issues.map(({ path: [name = ''] }) => prefix + String(name))
  return { missing: [...new Set(missing)], given: given.map((name) => prefix + name) }
}
