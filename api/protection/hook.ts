import type { Dispatcher } from 'undici'
import { hookLimits } from '../../core/protection/hook'
import type { ProtectionMode } from '../../core/protection/protection'
import type { Channel } from '../../core/channel'
import type { Risk } from '../../core/protection/risk'
import { noteTurnedAway } from '../../db/protection/decision-log'
import { type CallableHook, readHooks } from '../../db/apps/pre-send-hooks'
import { isKeyInUse } from '../../db/requests/idempotency'
import type { Refusal } from '../../db/requests/new-request'
import { createGuardedDispatcher } from '../../events/dispatcher'
import type { HookDecision } from '../contract/hooks'
import type { SendBody } from '../contract/send'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import type { KeyCall } from '../route'
import { endUserOf } from './end-user'
import { callHook, type HookFault } from './hook-call'
import { HookCircuit } from './hook-circuit'

/** What a hook may change of a send. */
export interface HookChanges {
  channels?: Channel[] | undefined
  locale?: string | undefined
  risk?: Risk | undefined
}

/** What a hook is told of a send beside what the call itself says. */
export interface HookedSend {
  /** Of the request that the send may make. */
  requestId: string
  recipient: { kind: 'phone' | 'email'; value: string }
  country: string | null
  purpose: string
  mode: ProtectionMode
  /** What would be sent; `changes` are those of a hook. @throws {Problem} where they make no sense */
  shape: (changes?: HookChanges) => {
    locale: string
    risk: Risk
    plan: readonly { channel: Channel }[]
  }
  /** The caller's, where it has one. */
  idempotencyKey: string | undefined
}

/** What a hook asks for; nothing where an app has none. */
export interface HookWish {
  changes?: HookChanges | undefined
  needsChallenge?: boolean | undefined
}

/** The hooks of all apps, as one process knows and calls them. */
export interface Hooks {
  /** Reads them anew at the next send: one has changed. */
  forget(): void
  /**
   * Asks the app's hook about a send, unless it is refused whatever the hook says: a flood of sends must not be one of
   * calls.
   * @throws {Problem} BLOCKED when it denies it, or gives no answer and the app wants it denied then
   */
  ask(
    call: KeyCall<SendBody>,
    send: HookedSend,
    foreseen: () => Promise<Refusal | undefined>,
  ): Promise<HookWish>
}

export function createHooks(deps: ApiDeps): Hooks {
  const reach = { isProduction: deps.isProduction }
  // Sockets of their own: receivers of events that hang must not hold up a send.
  const dispatcher = createGuardedDispatcher(reach, { connectMs: hookLimits.withinMs })
  const circuits = new Map<string, HookCircuit>()
  const known = keptFor(hookLimits.keptMs, () => readHooks(deps.db, deps.keyring))
  return {
    forget: () => known.forget(),
    async ask(call, send, foreseen) {
      const { app } = call.key
      const hook = (await known.read()).get(app.id)
      if (!hook || (await isReplay(deps, call, send))) return {}
      if (await foreseen()) return {}
      const circuit = circuits.get(app.id) ?? new HookCircuit()
      circuits.set(app.id, circuit)
      const answer = await answerOf({ dispatcher, reach, deps }, { hook, circuit, call, send })
      if ('fault' in answer) return failed(deps, call, send, { hook, fault: answer.fault })
      if (answer.action === 'deny') throw await denied(deps, call, send, answer.reason)
      return { changes: changesIn(answer), needsChallenge: answer.challenge === true }
    },
  }
}

/** A repeat of a send that it was asked about. */
const isReplay = async (
  { db, keyring }: ApiDeps,
  { key: { app, environment } }: KeyCall<SendBody>,
  { idempotencyKey: key }: HookedSend,
): Promise<boolean> =>
  key !== undefined && (await isKeyInUse(db, keyring, { appId: app.id, environment, key }))

interface Asking {
  hook: CallableHook
  circuit: HookCircuit
  call: KeyCall<SendBody>
  send: HookedSend
}

async function answerOf(
  {
    dispatcher,
    reach,
    deps,
  }: { dispatcher: Dispatcher; reach: { isProduction: boolean }; deps: ApiDeps },
  { hook, circuit, call, send }: Asking,
): Promise<HookDecision | { fault: HookFault | 'left_alone' }> {
  if (!circuit.enter()) return { fault: 'left_alone' }
  let answer: Awaited<ReturnType<typeof callHook>> = { fault: 'stopped' }
  try {
    answer = await callHook({ dispatcher, reach }, hook, messageOf(call, send))
    if ('action' in answer && !makesSense(send, changesIn(answer)))
      answer = { fault: 'not_an_answer' }
  } finally {
    const fault = 'fault' in answer ? answer.fault : undefined
    if (circuit.leave(fault === undefined))
      deps.logger.warn(
        { app: hook.appId, fault, seconds: hookLimits.pauseMs / 1_000 },
        'a pre-send hook fails: it is left alone for a while',
      )
  }
  return answer
}

const changesIn = (answer: HookDecision): HookChanges | undefined =>
  answer.action === 'alter' ? answer : undefined

/** Held to what the caller itself could have asked for. */
function makesSense({ shape }: HookedSend, changes: HookChanges | undefined): boolean {
  try {
    shape(changes)
    return true
  } catch (error) {
    if (error instanceof Problem) return false
    throw error
  }
}

function messageOf(
  call: KeyCall<SendBody>,
  { requestId, recipient, country, purpose, shape }: HookedSend,
): object {
  const { key, body } = call
  const { locale, risk, plan } = shape()
  const user = endUserOf(call)
  return {
    type: 'pre_send',
    request_id: requestId,
    app_id: key.app.id,
    environment: key.environment,
    publishable: key.publishable,
    ...(recipient.kind === 'phone'
      ? { phone_number: recipient.value }
      : { email: recipient.value }),
    country,
    channels: plan.map(({ channel }) => channel),
    locale,
    purpose,
    risk,
    ...(user && { ip_address: user.address }),
    ...(body.metadata && { metadata: body.metadata }),
    timestamp: new Date().toISOString(),
  }
}

async function denied(
  deps: ApiDeps,
  { key }: KeyCall<SendBody>,
  { requestId, country, mode }: HookedSend,
  reason: string | undefined,
): Promise<Problem> {
  await noteTurnedAway(deps.db, {
    requestId,
    appId: key.app.id,
    environment: key.environment,
    country,
    verdict: 'blocked',
    mode,
    rule: 'pre_send_hook',
  })
  // Why is for the app: it may say what it knows about somebody.
  if (key.publishable) return new Problem('BLOCKED')
  const because = reason === undefined ? '.' : `: ${reason}`
  return new Problem('BLOCKED', { detail: `The app’s pre-send hook refused this send${because}` })
}

/** What the app chose for sends that its hook says nothing about. */
async function failed(
  deps: ApiDeps,
  call: KeyCall<SendBody>,
  send: HookedSend,
  { hook, fault }: { hook: CallableHook; fault: HookFault | 'left_alone' },
): Promise<HookWish> {
  deps.logger.debug({ app: hook.appId, fault }, 'a pre-send hook gave no answer')
  if (hook.onFailure === 'deny')
    throw await denied(deps, call, send, `it gave no answer (${fault})`)
  return { needsChallenge: hook.onFailure === 'challenge' }
}

/** What is read at most once in a while; sends that come at the same time share one read. */
function keptFor<T>(ms: number, read: () => Promise<T>) {
  let kept: { until: number; value: Promise<T> } | undefined
  return {
    forget: () => void (kept = undefined),
    read: (): Promise<T> => {
      if (kept && performance.now() < kept.until) return kept.value
      const mine = { until: performance.now() + ms, value: read() }
      kept = mine
      mine.value.catch(() => {
        if (kept === mine) kept = undefined
      })
      return mine.value
    },
  }
}
