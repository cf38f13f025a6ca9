import { setTimeout as pause } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { type AlertPolicy, type AlertTarget, targetsOf } from '../core/alerts/policy'
import { type AlertText, textOf, textOfMany } from '../core/alerts/text'
import type { Database } from '../db'
import { finishNotice, noteTold, type TakenNotice, takeNotices } from '../db/alerts/notices'
import type { Reach } from './address'
import { isReceived, post } from './post'

const everyMs = 1_000
const batch = 100
/** More messages than this to one receiver at once become one: chats take one a second. */
const mostAtOnce = 5
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
  if (taken.length === 0) return
  const receivers = deps.receivers()
  const faults = new Map<string, string>()
  await Promise.all(
    messagesFor(taken, receivers, deps.publicUrl).map(async ({ name, notices, ...message }) => {
      const fault = await tell(deps, { ...message, receivers, stopping })
      for (const notice of notices)
        if (fault === undefined) await noteTold(deps.db, notice, name)
        else faults.set(notice.noticeId, `${name}: ${fault}`)
    }),
  )
  for (const notice of taken) await finish(deps, notice, faults.get(notice.noticeId))
}

interface AlertMessage {
  target: AlertTarget
  /** The receiver's. */
  name: string
  notices: readonly TakenNotice[]
  text: AlertText
  id: string
}

/** What goes to each receiver that has not heard yet: a message for each notice, or one for all of a storm. */
function messagesFor(
  taken: readonly TakenNotice[],
  { policy, slack, email }: AlertReceivers,
  publicUrl: string,
): AlertMessage[] {
  const usual = { slack: [...slack.keys()], email }
  const left = taken.flatMap((notice) =>
    targetsOf(policy, usual, notice)
      .map((target) => ({ notice, target, name: `${target.kind}:${target.name}` }))
      .filter(({ name }) => !notice.toldTo.includes(name)),
  )
  const byReceiver = [...Map.groupBy(left, ({ name }) => name).values()]
  return byReceiver.flatMap((all) => {
    const [first] = all
    if (first === undefined || all.length <= mostAtOnce)
      return all.map(({ notice, ...place }) => ({
        ...place,
        notices: [notice],
        text: textOf(notice, notice.kind, publicUrl),
        id: `${notice.id}.${notice.noticeId}`,
      }))
    const { notice, ...place } = first
    const notices = all.map((one) => one.notice)
    const many = notices.map((alert) => ({ alert, kind: alert.kind }))
    const id = `${notice.id}.${notice.noticeId}.${notices.length}`
    return [{ ...place, notices, text: textOfMany(many, publicUrl), id }]
  })
}

async function finish(
  { db, log }: Pick<AlertSenderDeps, 'db' | 'log'>,
  notice: TakenNotice,
  fault: string | undefined,
): Promise<void> {
  const fields = { alertId: notice.id, fault, tries: notice.tries }
  if (await finishNotice(db, notice, fault))
    log.error(fields, 'an alert could not be told: it was given up')
  else if (fault !== undefined) log.warn(fields, 'an alert could not be told: it is tried again')
}

interface Telling extends Pick<AlertMessage, 'target' | 'text' | 'id'> {
  receivers: AlertReceivers
  stopping: AbortSignal
}

/** @returns why it was not told, in our own words */
async function tell(
  { dispatcher, reach }: Pick<AlertSenderDeps, 'dispatcher' | 'reach'>,
  { receivers, target, text, id, stopping }: Telling,
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
