import { CancellationScope, condition } from '@temporalio/workflow'
import { consequenceOf } from '../core/delivery/fault'
import type { SendResult } from '../core/requests/otp-request'
import {
  callTimeoutMs,
  healthyFirst,
  ruleFor,
  sendBudgetMs,
  type Step,
  unhealthyOn,
} from '../core/requests/plan'
import { record, sendCode } from './activities'
import { look, waitLooking } from './looking'
import { showSending, showSent } from './operator-view'
import type { Run } from './run'

/** A call in doubt gets this part of the send budget for its receipt to come in before it is sent again. */
const graceShare = 1 / 5
/** Less budget than this is not worth a call. */
const minBudgetMs = 500

interface Sending {
  index: number
  step: Step
  /** The resend that it serves; 0: the plan's own send of the step. */
  resendSeq: number
  /** The user asked to leave this step. */
  abandon: () => boolean
}

/**
 * Tries the step's providers, healthy ones first, until one accepts or the send budget is used up.
 * @returns when the first call was claimed, which starts the step's clock; undefined when none was
 */
export async function sendByStep(run: Run, sending: Sending): Promise<number | undefined> {
  const { step, abandon } = sending
  let startedAt: number | undefined
  const budgetLeft = () => (startedAt ?? Date.now()) + sendBudgetMs(step) - Date.now()
  const stop = () => abandon() || run.isOver() || budgetLeft() < minBudgetMs
  const firstSendNo = run.sends() + 1
  const sendVia = async (provider: string, lastResort: boolean) => {
    const result = await send(run, { ...sending, provider, lastResort, firstSendNo })
    if (result.ageMs !== null) startedAt ??= Date.now() - result.ageMs
    return result
  }
  /** What one refuses did not go out a second time: the next may have it. */
  const sendByFirst = async (names: readonly string[]) => {
    for (const [place, name] of names.entries()) {
      if (stop()) return
      const result = await sendVia(name, place === names.length - 1)
      if (result.outcome !== 'refused' || consequenceOf[result.fault] === 'end_step') return
    }
  }
  const unhealthy = unhealthyOn(step.channel, run.unhealthy)
  const providers = healthyFirst(step.providers, unhealthy)
  for (const [place, provider] of providers.entries()) {
    if (stop()) break
    const others = providers.slice(place + 1).filter((name) => !unhealthy.has(name))
    const result = await sendVia(provider, others.length === 0)
    if (result.outcome === 'in_doubt' && step.onDoubt === 'resend' && !stop()) {
      const confirmed = () => run.isConfirmed(result.attempt)
      const summary = `${step.channel} via ${provider}: a receipt to end the doubt`
      const until = Date.now() + sendBudgetMs(step) * graceShare
      await waitForReceipt(run, { until, done: () => confirmed() || stop(), summary })
      if (!confirmed()) await sendByFirst(others.length > 0 ? others : [provider])
      break
    }
    if (result.outcome !== 'refused' || consequenceOf[result.fault] === 'end_step') break
  }
  return startedAt
}

/** Waits until the time `until`, or until `done`, for a receipt that Postgres has, too. */
async function waitForReceipt(
  run: Run,
  { until, done, summary }: { until: number; done: () => boolean; summary: string },
): Promise<void> {
  let woken = true
  while (woken && !done() && Date.now() < until) {
    const hasNews = () => done() || run.hasHintOfReceipt()
    woken = await condition(hasNews, until - Date.now(), { summary })
    if (!done() && run.hasHintOfReceipt()) await look(run)
  }
}

interface Send extends Sending {
  provider: string
  lastResort: boolean
  firstSendNo: number
}

/** One send through one provider; left alone when the run has turned to something else. */
async function send(
  run: Run,
  { index, step, resendSeq, provider, lastResort, firstSendNo, abandon }: Send,
): Promise<SendResult> {
  const { requestId } = run.input
  const key = { requestId, sendNo: run.nextSendNo(), firstSendNo }
  showSending(run, step, provider)
  const scope = new CancellationScope()
  let result: SendResult | undefined
  let failed = false
  const sending = scope.run(() =>
    sendCode({
      ...key,
      step: index,
      channel: step.channel,
      provider,
      success: ruleFor(step, provider),
      resendSeq,
      budgetMs: sendBudgetMs(step),
      callTimeoutMs: callTimeoutMs(step),
      lastResort,
    }),
  )
  void sending.then(
    (value) => void (result = value),
    () => void (failed = true),
  )
  const settled = () => result !== undefined || failed || abandon() || run.isOver()
  if (run.believes) await condition(settled)
  else await waitLooking(run, settled)
  const abandoned = result === undefined && !failed
  if (abandoned) scope.cancel()
  // Retries are spent, the worker died too often, or we left: the claim's own row says what became of it.
  result ??= await record(run, (asked) => asked.settleSend({ ...key, abandoned }))
  if (result.outcome === 'accepted' || result.outcome === 'in_doubt') {
    run.noteAccepted(result.attempt, index, ruleFor(step, result.provider ?? provider))
  }
  if (result.outcome === 'ended')
    run.absorb(await record(run, (asked) => asked.readProgress(requestId)))
  showSent(run, step, result.provider ?? provider, result)
  return result
}
