import { z } from 'zod'
import { channels } from '../core/channel'
import { type Adapter, prefixOf, readSettings, type Variables } from './adapter'
import { africasTalking } from './africas-talking'
import { arkesel } from './arkesel'
import { createDispatcher } from './http'
import { infobip } from './infobip'
import { meta } from './meta'
import type { ProviderAccount } from './provider'
import { sandbox } from './sandbox'
import { smtp } from './smtp'
import { storable } from './storable'
import { vonage } from './vonage'
import { twilio } from './twilio'
import { webhook } from './webhook'

/** Every provider that otpilot speaks to: a new one is one file, one line here and one page in docs/providers/. */
export const adapters = [
  africasTalking,
  arkesel,
  infobip,
  meta,
  sandbox,
  smtp,
  twilio,
  vonage,
  webhook,
] as readonly Adapter[]
const adapterOf = new Map(adapters.map((adapter) => [adapter.name, adapter]))

/** A name of the operator's own, as in OTPILOT_REGION. */
const Region = z.string().regex(/^[a-z0-9-]{1,20}$/, 'lower-case letters, digits and -')

/** One provider account as the policy file describes it. */
export const AccountConfig = z
  .strictObject({
    /** Part of callback paths, tables, search attributes and, in capitals, of the account's variables. */
    name: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'lower-case letters, digits and hyphens'),
    // No list in the JSON Schema: a new adapter is to touch nothing but itself, its line above and its page.
    adapter: z.string().refine((name) => adapterOf.has(name), {
      error: `must be one of ${[...adapterOf.keys()].join(', ')}`,
    }),
    channels: z.array(z.enum(channels)).min(1),
    /** A test key reaches only accounts marked so. */
    test: z.boolean(),
    /** Where the provider keeps what it is given; an app of a region uses only accounts of that region. */
    region: Region.optional(),
    /** Channels on which the provider may make codes of its own (docs/providers/delegated.md). */
    delegated: z.array(z.enum(channels)).optional(),
  })
  .superRefine(({ adapter: name, channels: named, delegated = [] }, context) => {
    const served = adapterOf.get(name)?.channels
    if (!served) return
    for (const [field, wanted] of Object.entries({ channels: named, delegated }))
      for (const channel of wanted)
        if (!served.includes(channel))
          context.addIssue({
            code: 'custom',
            path: [field],
            message: `the adapter ${name} does not serve ${channel}`,
          })
  })
export type AccountConfig = z.infer<typeof AccountConfig>

function readAccount(account: AccountConfig, variables: Variables) {
  const adapter = adapterOf.get(account.adapter)
  if (!adapter) throw new Error(`There is no adapter ${account.adapter}.`)
  return { adapter, reading: readSettings(adapter, account, variables) }
}

/** The usable accounts by name; one whose settings are missing is left out (see {@link accountsLeftOut}). */
export function createProviders(
  accounts: readonly AccountConfig[],
  variables: Variables,
  dispatcher = createDispatcher(),
): Map<string, ProviderAccount> {
  const usable = new Map<string, ProviderAccount>()
  for (const account of accounts) {
    const { adapter, reading } = readAccount(account, variables)
    if (!('settings' in reading)) continue
    const made = adapter.create(account, reading.settings, { dispatcher })
    if (made.channels.length > 0)
      usable.set(account.name, { ...storable(made), region: account.region })
  }
  return usable
}

/** Variables of accounts that cannot be used, a sentence each; never a value. */
export function settingsFaults(
  accounts: readonly AccountConfig[],
  variables: Variables,
  { isProduction }: { isProduction: boolean },
): string[] {
  const faults = accounts.flatMap((account) => {
    const { adapter, reading } = readAccount(account, variables)
    const plain = Object.keys(adapter.settings.shape)
      .filter((name) => name.endsWith('BASE_URL'))
      .map((name) => prefixOf(adapter, account) + name)
      .filter((name) => isProduction && /^http:/i.test(variables[name] ?? ''))
    return [
      ...('faults' in reading ? reading.faults : []),
      ...plain.map((name) => `${name}: must be https in production`),
    ]
  })
  return [...new Set(faults)]
}

/**
 * Accounts that {@link createProviders} leaves out, with one sentence each for the start-up log. `begun`: some of the
 * account's variables are set, so somebody meant to use it.
 * @param usable what {@link createProviders} made of these accounts
 */
export function accountsLeftOut(
  accounts: readonly AccountConfig[],
  variables: Variables,
  usable: Pick<ReadonlyMap<string, ProviderAccount>, 'has'> = createProviders(accounts, variables),
) {
  return accounts.flatMap((account) => {
    const { adapter, reading } = readAccount(account, variables)
    const off = (why: string, begun: boolean) => {
      const reason = `Provider account "${account.name}" is off: ${why}.`
      return [{ account: account.name, reason, begun }]
    }
    if ('settings' in reading) {
      return usable.has(account.name)
        ? []
        : off(
            `its settings suffice for none of ${account.channels.join(', ')} (what each needs: docs/providers/${adapter.name}.md)`,
            true,
          )
    }
    if (!('missing' in reading)) return []
    const { missing, given } = reading
    // Variables that several accounts share, npm start may have set.
    const begun = adapter.prefix === undefined && given.length > 0
    return off(`${missing.join(', ')} ${missing.length > 1 ? 'are' : 'is'} not set`, begun)
  })
}
