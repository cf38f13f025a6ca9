import { addressOf, type Channel } from '../../core/channel'
import { resendAfterSeconds } from '../../core/limits'
import type { State } from '../../core/requests/state'
import { shareOf } from '../../core/routing/share'
import type { CommandOutcome } from '../../db/requests/command-outcome'
import { askNext, askResend, cancelRequest } from '../../db/requests/commands'
import { cancelPage, findPage } from '../../db/requests/pages'
import { readTraits, type RequestTraits } from '../../db/requests/route'
import { CommandAnswer, ResendBody } from '../contract/send'
import { dialStringsOf } from '../../providers/dial-strings'
import { type ApiDeps, wakeRuns } from '../deps'
import { type HealthView, healthOf } from '../health-view'
import { namedStep } from '../plan-for'
import { Problem } from '../problem'
import { resendRefusedBy } from '../protection'
import { isOwnMachine } from '../protection/end-user'
import { limitedBy } from '../protection/limits'
import { overBudget } from '../protection/money'
import { isOnAllowList } from '../protection/number'
import { type KeyCall, route } from '../route'
import { actorOf, ownerOf } from '../send-wish'
import { routingOfTests } from '../test-routing'

const commandOf = ({ key, params }: Pick<KeyCall, 'key' | 'params'>) => ({
  ...ownerOf(key),
  requestId: params.request_id ?? '',
  actor: actorOf(key),
})

export const resendRoute = (deps: ApiDeps, health: HealthView) =>
  route({
    method: 'post',
    path: '/otp/{request_id}/resend',
    operationId: 'resendOtp',
    tag: 'OTP',
    summary: 'Send the same code again',
    description:
      'On the channel in progress, or on the one named. Counts against the limits of the recipient. The fraud rules look at it as at a send; where they ask for a challenge, a send with a solved one repeats the code too.',
    scope: 'send',
    admission: 'send',
    body: ResendBody,
    bodyOptional: true,
    example: {},
    replies: { 200: { description: 'Sent again, or just being sent.', content: CommandAnswer } },
    errors: [
      'REQUEST_ENDED',
      'RATE_LIMITED',
      'BUDGET_EXCEEDED',
      'CHANNEL_UNAVAILABLE',
      'BLOCKED',
      'CHALLENGE_REQUIRED',
    ],
    async handle(call) {
      const command = commandOf(call)
      const { channel } = call.body
      const traits = await traitsOf(deps, call)
      const { routing } = traits
      const step =
        channel && (await stepFor({ ...deps, routing }, health, call, { channel, traits }))
      const outcome = await askResend(deps.db, deps.keyring, {
        ...command,
        requestId: traits.requestId,
        step,
        dialStrings: dialStringsOf(routing.accounts),
        policy: routing.policy,
        isTrusted: traits.isListed || isOwnMachine(deps, call.client),
      })
      const asked = done(deps, call, outcome)
      const resend = asked.outcome === 'already_sending' ? 'already_sending' : 'sent'
      return { body: answerOf(command.requestId, 'sent', { ...asked, resend }) }
    },
  })

export const nextRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/otp/{request_id}/next',
    operationId: 'nextChannel',
    tag: 'OTP',
    summary: 'Go on with the next channel now',
    description:
      'One more message, which meets what a resend meets: the limits of the recipient, the fraud rules, the money.',
    scope: 'send',
    admission: 'send',
    replies: { 200: { description: 'On its way.', content: CommandAnswer } },
    errors: [
      'REQUEST_ENDED',
      'RATE_LIMITED',
      'BUDGET_EXCEEDED',
      'BLOCKED',
      'CHALLENGE_REQUIRED',
      'NO_NEXT_CHANNEL',
    ],
    async handle(call) {
      const { requestId, isListed, routing } = await traitsOf(deps, call)
      const command = commandOf(call)
      const outcome = await askNext(deps.db, deps.keyring, {
        ...{ ...command, requestId },
        policy: routing.policy,
        isTrusted: isListed || isOwnMachine(deps, call.client),
      })
      const asked = done(deps, call, outcome)
      return { body: answerOf(command.requestId, 'moving', asked) }
    },
  })

export const cancelRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/otp/{request_id}/cancel',
    operationId: 'cancelOtp',
    tag: 'OTP',
    summary: 'Stop a request: nothing more is sent, its code is void',
    description:
      'By the id that a page was given, what that page began: the code of its recipient lives on while another page waits for it.',
    scope: 'send',
    replies: { 200: { description: 'Cancelled.', content: CommandAnswer } },
    errors: ['REQUEST_ENDED'],
    async handle(call) {
      const command = commandOf(call)
      const { requestId: pageId } = command
      const page = await findPage(deps.db, command)
      const outcome = page
        ? await cancelPage(deps.db, { ...command, pageId, requestId: page.requestId })
        : await cancelRequest(deps.db, command)
      const asked = done(deps, call, outcome)
      return { body: answerOf(command.requestId, 'cancelled', asked) }
    },
  })

/**
 * What a further message of a request goes by; `requestId` is its own where a page's id was given.
 * @throws {Problem} BLOCKED for whom a list has named since, and where the page's own request is over
 */
async function traitsOf(deps: ApiDeps, call: Pick<KeyCall, 'key' | 'params'>) {
  const { requestId } = commandOf(call)
  const traits = await readTraits(deps.db, deps.keyring, { ...ownerOf(call.key), requestId })
  if (!traits) throw new Problem('NOT_FOUND')
  const { value, isTest, endedAs: state } = traits
  if (state !== undefined) throw endedProblem(requestId, state)
  const isKept = value !== undefined && !isTest
  const isListed = isKept && (await isOnAllowList(deps, call, { ...traits, value, requestId }))
  const routing = isTest ? routingOfTests(deps.routing, call.key) : deps.routing
  return { ...traits, isListed, routing }
}

/** The step of a channel named by the caller; it must go to the kind of address that the request is for. */
async function stepFor(
  deps: ApiDeps,
  health: HealthView,
  call: KeyCall,
  { channel, traits }: { channel: Channel; traits: RequestTraits },
) {
  const { requestId } = commandOf(call)
  const { environment, app } = call.key
  if (traits.kind !== addressOf(channel)) {
    throw new Problem('INVALID_REQUEST', {
      requestId,
      detail: `This request cannot go by ${channel}.`,
    })
  }
  const { kind, country, number, risk } = traits
  return namedStep(deps.routing, channel, {
    kind,
    country,
    number,
    risk,
    wish: { channel },
    app: app.id,
    environment,
    region: app.region,
    ...(await healthOf(health)),
    share: shareOf(requestId),
  })
}

type Done = Extract<CommandOutcome, { outcome: 'done' | 'already_sending' }>

/** Wakes the run when the command was taken. @throws {Problem} when it was not. */
function done(deps: ApiDeps, call: Pick<KeyCall, 'key' | 'params'>, asked: CommandOutcome): Done {
  const { requestId } = commandOf(call)
  if (asked.outcome === 'already_sending') return asked
  if (asked.outcome === 'done') {
    wakeRuns(deps, [asked.wake])
    return asked
  }
  if (asked.outcome === 'not_found') throw new Problem('NOT_FOUND')
  if (asked.outcome === 'no_next') throw new Problem('NO_NEXT_CHANNEL', { requestId })
  if (asked.outcome === 'rate_limited') throw limitedBy(asked, call.key, requestId)
  if (asked.outcome === 'protected') throw resendRefusedBy(asked, requestId)
  if (asked.outcome === 'over_budget') throw overBudget(asked, call.key, requestId)
  if (asked.outcome !== 'ended') throw new Error('A command ended in a way that nobody knows.')
  throw endedProblem(requestId, asked.state)
}

const endedProblem = (requestId: string, state: State) =>
  new Problem('REQUEST_ENDED', { requestId, detail: `The request has ended: ${state}.` })

function answerOf(
  requestId: string,
  status: CommandAnswer['status'],
  {
    channel,
    sends,
    resend,
    instruction,
  }: {
    channel?: Channel
    sends?: number
    resend?: CommandAnswer['resend']
    instruction?: string | undefined
  },
): CommandAnswer {
  return {
    status,
    request_id: requestId,
    ...(channel && { channel }),
    ...(resend && { resend }),
    ...(instruction && { instruction }),
    ...(sends !== undefined && { resend_after: resendAfterSeconds(sends) }),
  }
}
