import { noteRefusedAccountCallback } from '../../db/delivery/receipts'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import { type Call, type Route, route } from '../route'
import { takeInbound } from '../take-inbound'
import { authenticOr, callbackOf, checkHead, maxBatchBytes } from './provider-callbacks'

const inboundCall = {
  method: 'post',
  tag: 'Callbacks',
  scope: null,
  rawBody: true,
  maxBodyBytes: maxBatchBytes,
  replies: { 200: { description: 'Taken, in the words of the provider.', content: '*/*' } },
  errors: ['INVALID_SIGNATURE'],
} as const

/** What people send to providers' numbers, where a provider has an address of its own for it. */
export const inboundRoutes = (deps: ApiDeps): Route[] => {
  const handle = (pathOf: (provider: string, secret: string) => string) => async (call: Call) => {
    const { provider = '', secret = '' } = call.params
    const account = deps.routing.accounts.get(provider)
    if (!account?.inbound) throw new Problem('NOT_FOUND')
    const { inbound } = account
    const path = pathOf(provider, secret)
    await checkHead(deps, call, { provider, path })
    const reply = await callbackOf(deps, call, { path })
    const messages = await authenticOr(
      () => inbound.readInbound(reply),
      () => noteRefusedAccountCallback(deps.db, provider),
    )
    await takeInbound(deps, account, messages)
    return inbound.taken ?? { body: { received: true } }
  }
  return [
    route({
      ...inboundCall,
      path: '/webhooks/{provider}/inbound',
      operationId: 'inboundMessage',
      summary: 'A message that a person sent to a provider’s number',
      description:
        'Authenticated as that provider does it. STOP and its like withdraw the sender’s consent in every app that knows the number, under each of its spellings; any other text, and what comes from no number that can be read, is taken and forgotten.',
      handle: handle((provider) => `/webhooks/${provider}/inbound`),
    }),
    route({
      ...inboundCall,
      path: '/webhooks/{provider}/secret/{secret}/inbound',
      operationId: 'inboundMessageBySecret',
      summary: 'The same, for providers that sign nothing',
      description: 'The secret in the address is the account’s CALLBACK_SECRET.',
      handle: handle((provider, secret) => `/webhooks/${provider}/secret/${secret}/inbound`),
    }),
  ]
}
