import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { channels } from '../core/channel'
import { createDispatcher } from './http'
import type { ProviderAccount } from './provider'
import { createSandboxAccount } from './sandbox'
import { storable } from './storable'
import { createWebhookAccount } from './webhook'

const adapters = ['sandbox', 'webhook'] as const

/** A name of the operator's own, as in OTPILOT_REGION. */
const Region = z.string().regex(/^[a-z0-9-]{1,20}$/, 'lower-case letters, digits and -')

/** One provider account as the policy file describes it. */
export const AccountConfig = z.strictObject({
  /** Part of callback paths, tables and search attributes. */
  name: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'lower-case letters, digits and hyphens'),
  adapter: z.enum(adapters),
  channels: z.array(z.enum(channels)).min(1),
  /** A test key reaches only accounts marked so. */
  test: z.boolean(),
  /** Where the provider keeps what it is given; an app of a region uses only accounts of that region. */
  region: Region.optional(),
})
export type AccountConfig = z.infer<typeof AccountConfig>

/** The adapters' settings, from the environment. */
export interface ProviderEnv {
  sandboxUrl?: string
  /** `whsec_` and base64, as every secret here. */
  sandboxSecret?: string
  gatewayUrl?: string
  gatewaySecret?: string
  receiptSecret?: string
}

type Build = (dispatcher: Dispatcher) => ProviderAccount

/** What an adapter makes of an account: the account, or what it lacks. */
const adapterOf: Record<
  (typeof adapters)[number],
  (account: AccountConfig, env: ProviderEnv) => Build | { missing: string }
> = {
  sandbox: (account, { sandboxUrl: url, sandboxSecret: secret }) => {
    if (!url) return { missing: 'SANDBOX_URL' }
    if (!secret) return { missing: 'SANDBOX_SECRET' }
    return (dispatcher) => createSandboxAccount(account, { url, secret }, dispatcher)
  },
  webhook: (account, { gatewayUrl: url, gatewaySecret: secret, receiptSecret }) => {
    if (!url) return { missing: 'OTPILOT_GATEWAY_URL' }
    if (!secret) return { missing: 'OTPILOT_GATEWAY_SECRET' }
    return (dispatcher) => createWebhookAccount(account, { url, secret, receiptSecret }, dispatcher)
  },
}

/** The usable accounts by name; one whose settings are missing is left out (see {@link accountsLeftOut}). */
export function createProviders(
  accounts: AccountConfig[],
  env: ProviderEnv,
  dispatcher = createDispatcher(),
): Map<string, ProviderAccount> {
  const usable = new Map<string, ProviderAccount>()
  for (const account of accounts) {
    const build = adapterOf[account.adapter](account, env)
    if (typeof build === 'function')
      usable.set(account.name, { ...storable(build(dispatcher)), region: account.region })
  }
  return usable
}

/** Accounts that {@link createProviders} leaves out, with one sentence each for the start-up log. */
export function accountsLeftOut(accounts: AccountConfig[], env: ProviderEnv) {
  return accounts.flatMap((account) => {
    const build = adapterOf[account.adapter](account, env)
    if (typeof build === 'function') return []
    const reason = `Provider account "${account.name}" is off: ${build.missing} is not set.`
    return [{ account: account.name, reason }]
  })
}
