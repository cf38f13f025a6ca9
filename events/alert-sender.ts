import { setTimeout as pause } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { type AlertPolicy, type AlertTarget, targetsOf } from '../core/alerts/policy'
import { type AlertText, textOf } from '../core/alerts/text'
import type { Database } from '../db'
import { finishNotice, noteTold, type TakenNotice, takeNotices } from '../db/abuse/alert-notices'
import type { Reach } from './address'
import { isReceived, post } from './post'

const everyMs = 1_000
const batch = 20
/** All calls for one message are over before this. */
const claimSeconds = 120
const mailTimeoutMs = 20_000

/** Sends a mail to people. @throws when the server did not take it; the error holds no address */
export type MailAlert = (
  mail: { id: string; to: readonly string[]; subject: string; text: string },
  signal: AbortSignal,
) => Promise<void>

/** Where alerts go, as the settings have it now. */
export interface AlertReceivers {
  policy: AlertPolicy
  /** Secret addresses by name. */
  slack: ReadonlyMap<string, string>
  email: readonly string[]
  /** Undefined where no account sends e-mail. */
  mail: MailAlert | undefined
}

export interface AlertSenderDeps {
  db: Database
  dispatcher: Dispatcher
  reach: Reach
  /** Asked for every message: settings change. */
  receivers: () => AlertReceivers
  /** Where runbooks and the list of alerts are, without a slash at its end. */
  publicUrl: string
  log: {
    warn(fields: object, sentence: string): void
    error(fields: object, sentence: string): void
  }
}

/**
 * Tells people of alerts, in every worker process; rows are taken once. What fails is tried again for most of a day, and each
 * receiver by itself: one that is down keeps nobody else from hearing.
 */
export function startAlertSender(deps: AlertSenderDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const running = sendUntilStopped(deps, stopping.signal)
  return {
    stop: () => {
      stopping.abort()
      return running
    },
  }
}

async function sendUntilStopped(deps: AlertSenderDeps, stopping: AbortSignal): Promise<void> {
  while (!stopping.aborted) {
    await sendDue(deps, stopping).catch((error: unknown) =>
      deps.log.warn({ err: error }, 'alerts were not told: it is tried again'),
    )
    await pause(everyMs, undefined, { signal: stopping }).catch(() => undefined)
  }
}

async function sendDue(deps: AlertSenderDeps, stopping: AbortSignal): Promise<void> {
  const taken = await takeNotices(deps.db, { limit: batch, claimSeconds })
  await Promise.all(taken.map((notice) => send(deps, notice, stopping)))
}

async function send(
  deps: AlertSenderDeps,
  notice: TakenNotice,
  stopping: AbortSignal,
): Promise<void> {
  const receivers = deps.receivers()
  const usual = { slack: [...receivers.slack.keys()], email: receivers.email }
  const text = textOf(notice, notice.kind, deps.publicUrl)
  const left = targetsOf(receivers.policy, usual, notice)
    .map((target) => ({ target, name: `${target.kind}:${target.name}` }))
    .filter(({ name }) => !notice.toldTo.includes(name))
  const faults = await Promise.all(
    left.map(async ({ target, name }) => {
      const fault = await tell(deps, { receivers, target, text, notice, stopping })
      if (fault === undefined) await noteTold(deps.db, notice, name)
      return fault === undefined ? [] : [`${name}: ${fault}`]
    }),
  )
  const [fault] = faults.flat()
  const fields = { alertId: notice.id, fault, tries: notice.tries }
  if (await finishNotice(deps.db, notice, fault))
    deps.log.error(fields, 'an alert could not be told: it was given up')
  else if (fault !== undefined)
    deps.log.warn(fields, 'an alert could not be told: it is tried again')
}

interface Telling {
  receivers: AlertReceivers
  target: AlertTarget
  text: AlertText
  notice: TakenNotice
  stopping: AbortSignal
}

/** @returns why it was not told, in our own words */
async function tell(
  { dispatcher, reach }: Pick<AlertSenderDeps, 'dispatcher' | 'reach'>,
  { receivers, target, text, notice, stopping }: Telling,
): Promise<string | undefined> {
  if (target.kind === 'slack') {
    const url = receivers.slack.get(target.name)
    if (url === undefined) return 'no address'
    const result = await post(
      { dispatcher, reach },
      { url, headers: {}, body: slackBodyOf(text) },
      stopping,
    )
    return isReceived(result) ? undefined : (result.fault ?? `status ${result.httpStatus}`)
  }
  if (!receivers.mail) return 'no account sends e-mail'
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(mailTimeoutMs)])
  try {
    const { title: subject, lines } = text
    const id = `${notice.id}.${notice.noticeId}`
    await receivers.mail({ id, to: target.to, subject, text: lines.join('\n') }, signal)
    return undefined
  } catch {
    return 'the mail server did not take it'
  }
}

/** Slack's form, which others read too: `text` for notifications, blocks for the page. */
function slackBodyOf({ title, lines }: AlertText): string {
  const [heading = '', ...rest] = [title, ...lines].map(escaped)
  return JSON.stringify({
    text: heading,
    blocks: [
      {
        type: 'section',
        text: { type: 'mrkdwn', text: [`*${heading}*`, ...rest].join('\n') },
      },
    ],
  })
}

/** Slack's three control characters. */
const escaped = (line: string): string =>
  line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
