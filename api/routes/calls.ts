import { findSpokenCode, findVoiceAttempt } from '../../db/messages/spoken-code'
import {
  findAttemptByToken,
  noteRefusedAccountCallback,
  noteRefusedCallback,
  type ReportedAttempt,
} from '../../db/delivery/receipts'
import type { CallAnswerer, ConnectedCall, InboundCallback } from '../../providers/provider'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import { type Call, type Reply, type Route, route } from '../route'
import {
  authenticOr,
  callbackOf,
  checkHead,
  isOfAddress,
  recordReports,
  refusalOf,
} from './provider-callbacks'

const answering = {
  method: 'post',
  tag: 'Callbacks',
  scope: null,
  rawBody: true,
  replies: {
    200: { description: 'What the call says, in the provider’s format.', content: '*/*' },
  },
  errors: ['INVALID_SIGNATURE'],
} as const

/** Providers that ask, once a call is answered, what to say: at the call's own address, or at the account's. */
export const callRoutes = (deps: ApiDeps): Route[] => [
  route({
    ...answering,
    path: '/webhooks/{provider}/{token}/answer',
    operationId: 'answerCall',
    summary: 'A call that was answered: what to say',
    description:
      'Authenticated as that provider does it. The code is spoken while its request lives.',
    async handle(call: Call) {
      const { provider = '', token = '' } = call.params
      const calls = answererOf(deps, provider)
      const attempt = await findAttemptByToken(deps.db, deps.keyring, { provider, token })
      const place = { path: `/webhooks/${provider}/${token}/answer` }
      if (!attempt) throw await refusalOf(deps, call, { provider, ...place })
      const inbound = await callbackOf(deps, call, place)
      const connected = await authenticOr(
        () => calls.readCall(inbound),
        () => noteRefusedCallback(deps.db, attempt),
      )
      // A genuine callback about another call is not told this one's code.
      const isIts = await isOfAddress(deps, attempt, connected.providerMessageId)
      return speak(deps, {
        ...{ provider, calls, connected, inbound, attempt },
        spoken: isIts ? attempt : undefined,
      })
    },
  }),
  route({
    ...answering,
    path: '/webhooks/{provider}/secret/{secret}/answer',
    operationId: 'answerAccountCall',
    summary: 'The same, for providers with one address per account that sign nothing',
    async handle(call: Call) {
      const { provider = '', secret = '' } = call.params
      const calls = answererOf(deps, provider)
      const place = { path: `/webhooks/${provider}/secret/${secret}/answer` }
      await checkHead(deps, call, { provider, ...place })
      const inbound = await callbackOf(deps, call, place)
      const connected = await authenticOr(
        () => calls.readCall(inbound),
        () => noteRefusedAccountCallback(deps.db, provider),
      )
      const attempt = await findVoiceAttempt(deps.db, { provider, ...connected })
      return speak(deps, { provider, calls, connected, inbound, attempt, spoken: attempt })
    },
  }),
]

function answererOf({ routing }: ApiDeps, provider: string): CallAnswerer {
  const { calls } = routing.accounts.get(provider) ?? {}
  if (!calls) throw new Problem('NOT_FOUND')
  return calls
}

interface Connected {
  provider: string
  calls: CallAnswerer
  connected: ConnectedCall
  inbound: InboundCallback
  attempt: ReportedAttempt | undefined
  /** Whose code it may be told. */
  spoken: ReportedAttempt | undefined
}

async function speak(
  deps: ApiDeps,
  { provider, calls, connected, inbound, attempt, spoken }: Connected,
): Promise<Reply> {
  await recordReports(deps, { provider, attempt, reports: connected.receipts })
  const speech =
    connected.waits && spoken ? await findSpokenCode(deps.db, deps.keyring, spoken) : undefined
  return calls.answerCall(connected, speech, inbound)
}
