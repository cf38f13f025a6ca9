import { environments, isLive } from '../../core/state'
import { isStop } from '../../core/stop-word'
import { noteRefusedAccountCallback } from '../../db/attempts/receipts'
import { stopByReply } from '../../db/recipients/consent'
import { inboundDigest } from '../../db/recipients/inbound-messages'
import { ReceivedAnswer } from '../contract/receipt'
import { type ApiDeps, wakeRuns } from '../deps'
import { readPhoneNumber } from '../phone-number'
import { Problem } from '../problem'
import { route } from '../route'
import { authenticOr, callbackOf } from './provider-callbacks'

export const inboundRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/webhooks/{provider}/inbound',
    operationId: 'inboundMessage',
    tag: 'Callbacks',
    summary: 'A message that a person sent to a provider’s number',
    description:
      'Authenticated as that provider does it. STOP and its like withdraw the sender’s consent in every app that knows the number; any other text is taken and forgotten.',
    scope: null,
    rawBody: true,
    replies: { 200: { description: 'Taken.', content: ReceivedAnswer } },
    errors: ['INVALID_SIGNATURE', 'INVALID_NUMBER'],
    async handle(call) {
      const { provider = '' } = call.params
      const account = deps.routing.accounts.get(provider)
      const { inbound, test, adapter } = account ?? {}
      if (!inbound || adapter === undefined) throw new Problem('NOT_FOUND')
      const reply = await callbackOf(deps, call, { path: `/webhooks/${provider}/inbound` })
      const message = await authenticOr(
        () => inbound.readInbound(reply),
        () => noteRefusedAccountCallback(deps.db, provider),
      )
      if (message && isStop(message.text)) {
        const { number: phoneNumber } = readPhoneNumber(message.from, null)
        // Whoever answers to a test account answers to a test.
        const reached = environments.filter((environment) => isLive(environment) !== test)
        const stop = { phoneNumber, provider, environments: reached, at: message.at }
        const digest = inboundDigest(adapter, message.id)
        const { wakes } = await stopByReply(deps.db, deps.keyring, { ...stop, digest })
        wakeRuns(deps, wakes)
      }
      return { body: { received: true } }
    },
  })
