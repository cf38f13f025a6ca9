import { Context } from '@temporalio/activity'
import { blameOf } from '../core/delivery/breaker'
import type { SendOrder } from '../core/requests/otp-request'
import {
  askBreaker,
  type BreakerState,
  closeBreaker,
  failProbe,
  noteFault,
  releaseProbe,
} from '../db/delivery/breakers'
import { ProviderFault } from '../providers/provider'
import type { ActivityDeps } from './deps'

/** What kept a call from being made was ours: it says nothing of the account. */
export class OwnFault extends ProviderFault {}

type Deps = Pick<ActivityDeps, 'db' | 'log'>
type Target = Pick<SendOrder, 'requestId' | 'provider' | 'channel' | 'lastResort' | 'callTimeoutMs'>
type Judged = Target & { state: BreakerState }

/**
 * Asks whether a call may be made now: not to an account whose breaker is open, unless it is the one that tries it
 * again, or nobody else is left.
 * @returns undefined when it is another provider's turn
 */
export async function passBreaker(deps: Deps, target: Target): Promise<BreakerState | undefined> {
  const state = await askBreaker(deps.db, target)
  if (!state.open || target.lastResort) return state
  if (state.probe === null) return undefined
  const { requestId, provider, channel } = target
  deps.log.info({ requestId, provider, channel }, 'a message tries an account that had failed')
  return state
}

/** Makes the call, and lets the breaker learn from how it ended; what the call returns or throws is passed on. */
export async function judged<T>(
  deps: Deps,
  target: Judged,
  call: () => Promise<T | undefined>,
): Promise<T | undefined> {
  // What is learnt is of use to others only: it must neither fail this send nor be lost without a trace.
  const learn = (lesson: Promise<unknown>) =>
    lesson.catch((error: unknown) =>
      deps.log.warn({ provider: target.provider, err: error }, 'a breaker did not learn of a call'),
    )
  try {
    const result = await call()
    await learn(result === undefined ? giveBackTurn(deps, target) : succeed(deps, target))
    return result
  } catch (error) {
    if (error instanceof ProviderFault) await learn(fail(deps, target, error))
    throw error
  }
}

async function succeed({ db, log }: Deps, { state, provider, channel }: Judged): Promise<void> {
  if (state.open && (await closeBreaker(db, { provider, channel })))
    log.info({ provider, channel }, 'a breaker closed: the account works again')
}

async function fail(deps: Deps, target: Judged, error: ProviderFault): Promise<void> {
  const { state, provider, channel } = target
  const { fault, ofRecipient } = error
  // Nobody was called; or it answered as one that works, about a number that shows nothing; or we hung up, since the run
  // had turned away.
  const isOurs = error instanceof OwnFault || Context.current().cancellationSignal.aborted
  if (isOurs || ofRecipient || blameOf[fault] === 'none') return giveBackTurn(deps, target)
  const { db, log } = deps
  if (state.probe !== null) return failProbe(db, { provider, channel, probe: state.probe, fault })
  if (state.open) return
  if (await noteFault(db, { provider, channel, fault, begunAt: state.askedAt }))
    log.warn({ provider, channel, fault }, 'a breaker opened: the account is left alone for now')
}

/** No call was made after all, or none that shows anything: where it was to try the account, the next one is. */
export async function giveBackTurn(
  { db }: Pick<ActivityDeps, 'db'>,
  { state: { probe }, provider, channel }: Pick<Judged, 'state' | 'provider' | 'channel'>,
): Promise<void> {
  if (probe === null) return
  // A turn that nobody gives back ends by itself.
  await releaseProbe(db, { provider, channel, probe }).catch(() => undefined)
}
