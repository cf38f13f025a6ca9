import { CancellationScope, condition, isCancellation } from '@temporalio/workflow'
import { consequenceOf } from '../core/fault'
import type { SendResult } from '../core/otp-request'
import { callTimeoutMs, healthyFirst, sendBudgetMs, type Step } from '../core/plan'
import { activities, sendCode } from './activities'
import { showSending, showSent } from './operator-view'
import type { Run } from './run'

/** A call in doubt gets this part of the send budget for its receipt to come in before it is sent again. */
const graceShare = 1 / 5
/** Less budget than this is not worth a call. */
const minBudgetMs = 500

interface Sending {
  index: number
  step: Step
  /** The user asked to leave this step. */
  abandon: () => boolean
}

/** Tries the step's providers, healthy ones first, until one accepts or the send budget is used up. */
export async function sendByStep(run: Run, { index, step, abandon }: Sending): Promise<void> {
  const endsAt = Date.now() + sendBudgetMs(step)
  const stop = () => abandon() || run.isOver() || endsAt - Date.now() < minBudgetMs
  const providers = healthyFirst(step.providers, run.unhealthy)
  for (const [place, provider] of providers.entries()) {
    if (stop()) return
    const others = providers.slice(place + 1).filter((name) => !run.unhealthy.has(name))
    const attemptSend = (name: string, lastResort: boolean) =>
      send(run, { index, step, provider: name, lastResort, budgetMs: endsAt - Date.now(), abandon })
    const result = await attemptSend(provider, others.length === 0)
    if (result?.outcome === 'in_doubt' && step.onDoubt === 'resend') {
      await condition(
        () => run.isConfirmed(result.attempt) || stop(),
        sendBudgetMs(step) * graceShare,
        {
          summary: `${step.channel} via ${provider}: a receipt to end the doubt`,
        },
      )
      if (!run.isConfirmed(result.attempt) && !stop())
        await attemptSend(others[0] ?? provider, true)
      return
    }
    if (result?.outcome !== 'refused' || consequenceOf[result.fault] === 'end_step') return
  }
}

interface Send extends Sending {
  provider: string
  lastResort: boolean
  budgetMs: number
}

/** One send through one provider; undefined when the run turned to something else meanwhile. */
async function send(run: Run, order: Send): Promise<SendResult | undefined> {
  const { index, step, provider, lastResort, budgetMs, abandon } = order
  const sendNo = run.nextSendNo()
  const { requestId } = run.input
  showSending(run, step, provider)
  const scope = new CancellationScope()
  let result: SendResult | undefined
  let failure: unknown
  void scope
    .run(() =>
      sendCode(
        {
          requestId,
          sendNo,
          step: index,
          channel: step.channel,
          provider,
          success: step.success,
          callTimeoutMs: callTimeoutMs(step),
          lastResort,
        },
        budgetMs,
      ),
    )
    .then(
      (value) => void (result = value),
      (error: unknown) => void (failure = error),
    )
  await condition(() => result !== undefined || failure !== undefined || abandon() || run.isOver())
  if (result === undefined && failure === undefined) scope.cancel()
  // Retries are spent, the worker died for too long, or we left: the claim's own row says what became of it.
  result ??= await activities.settleSend({
    requestId,
    sendNo,
    abandoned: failure === undefined || isCancellation(failure),
  })
  if (result.outcome === 'accepted' || result.outcome === 'in_doubt') {
    run.noteAccepted(result.attempt, index, step.success)
  }
  if (result.outcome === 'ended') run.absorb(await activities.readProgress(requestId))
  showSent(run, step, provider, result)
  return abandon() || run.isOver() ? undefined : result
}
