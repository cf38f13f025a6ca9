import type { Channel } from '../../core/channel'
import { type AccountConfig, adapters, createProviders } from '../../providers'
import type { Adapter, Variables } from '../../providers/adapter'
import type { Message, ProviderAccount } from '../../providers/provider'
import { variablesFor, vendors } from '../../sandbox/vendors'

/** Where nobody listens. */
export const nowhere = 'http://127.0.0.1:9'

/** The adapters of providers in the world; the other two speak contracts of our own. */
export const providerAdapters = adapters.filter(
  ({ name }) => !['sandbox', 'webhook'].includes(name),
)

/** An account named as its adapter, as the shipped policy has one. */
export const configOf = ({
  name,
  channels,
}: Pick<Adapter, 'name' | 'channels'>): AccountConfig => ({
  ...{ name, adapter: name, channels: [...channels], test: false },
})

/** Settings with which the account of this name speaks to a service at `url` as it would to its fake. */
export const fakeVariables = (name: string, url: string): Record<string, string> =>
  variablesFor(
    url,
    vendors.filter((vendor) => vendor.name === name),
  )

/** An account whose API is at `url` itself, and not below it as its fake is. */
export function accountAt(name: string, url: string): ProviderAccount {
  const adapter = providerAdapters.find((each) => each.name === name)
  if (!adapter) throw new Error(`no adapter ${name}`)
  const account = createProviders([configOf(adapter)], fakeVariables(name, url)).get(name)
  if (!account) throw new Error(`the fake's settings do not suffice for ${name}`)
  return account
}

/** Adapters that speak HTTP, each with a channel on which it calls: a USSD code waits to be dialled. */
export const httpCalls: [adapter: string, channel: Channel][] = providerAdapters
  .filter(({ name }) => name !== 'smtp')
  .flatMap(({ name }) =>
    accountAt(name, nowhere)
      .channels.filter((channel) => channel !== 'ussd')
      .map((channel): [string, Channel] => [name, channel]),
  )

/** One to send. */
export const messageOn = (channel: Channel): Message => ({
  requestId: 'otp_abc',
  attemptId: 'att_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  channel,
  to: channel === 'email' ? 'ama@example.org' : '+233241234567',
  code: '482913',
  text: channel === 'voice' ? 'Your code is 4 8 2 9 1 3' : 'Your code is 482913',
  ...(channel === 'voice' && { keyPrompt: 'Press any key' }),
  locale: 'en',
  brand: 'Acme',
  callbackUrl: 'http://127.0.0.1:9/webhooks/account/a-callback-token',
  validForSeconds: 300,
  notAfter: Infinity,
})

/** What of a message or an account must never be seen elsewhere. */
export const secretsOf = (name: string, variables: Variables = fakeVariables(name, nowhere)) => [
  ...['233241234567', '482913', '4 8 2 9 1 3', 'ama@example.org', 'a-callback-token'],
  ...Object.entries(variables)
    .filter(([variable]) => /KEY|SECRET|TOKEN|PASSWORD/.test(variable))
    .flatMap(([, value]) => (value === undefined || value === '' ? [] : [value])),
]
