import { z } from 'zod'
import type { Channel } from '../../core/channel'
import { acceptedBody } from '../answer'
import { type Answer, isNoAnswer, listBytes, parseJson } from '../http'
import { meaningOf } from './codes'
import type { Receipt, ReceiptPoller } from '../provider'

/** A message's status, in answers to sends, in reports and in logs. */
export const Status = z.object({
  groupId: z.number().optional().catch(undefined),
  name: z.string().optional().catch(undefined),
})
const Price = z
  .object({
    pricePerMessage: z.number().nonnegative().optional().catch(undefined),
    pricePerSecond: z.number().nonnegative().optional().catch(undefined),
    currency: z.string(),
  })
  .optional()
  .catch(undefined)
const Report = z.object({
  messageId: z.string().min(1),
  callbackData: z.string().optional().catch(undefined),
  doneAt: z.string().optional().catch(undefined),
  /** WhatsApp: the message was read. Such a report has no status. */
  seenAt: z.string().optional().catch(undefined),
  messageCount: z.number().optional().catch(undefined),
  /** Seconds of a call, in logs. */
  duration: z.number().nullish().catch(undefined),
  price: Price,
  status: Status.optional().catch(undefined),
  error: z
    .object({
      id: z.number().optional().catch(undefined),
      name: z.string().optional().catch(undefined),
      permanent: z.boolean().optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
  voiceCall: z
    .object({
      answeredBy: z.string().nullish().catch(undefined),
      duration: z.number().nullish().catch(undefined),
      chargedDuration: z.number().nullish().catch(undefined),
    })
    .nullish()
    .catch(undefined),
})
type Report = z.infer<typeof Report>

/** What the body of a report or a log holds; one entry that cannot be read spoils none of the others. */
export const Reports = z
  .object({ results: z.array(z.unknown()) })
  .transform(({ results }) => results.flatMap((result) => Report.safeParse(result).data ?? []))
  .catch([])

/** Up to 100 messages each. */
export const readReports = (body: Buffer): Receipt[] =>
  Reports.parse(parseJson(body.toString('utf8'))).map((report) => receiptOf(report))

/** @param asked the channel of the message that we asked about: logs do not say it */
function receiptOf(report: Report, asked?: Channel): Receipt {
  const { messageId, status = {}, error, seenAt, doneAt } = report
  const [, channel = asked, attemptId] = /^(sms|voice|whatsapp):(att_\w+)$/.exec(
    report.callbackData ?? '',
  ) ?? [undefined, undefined, undefined]
  const answeredBy = answererOf(report)
  const isCall =
    channel === 'voice' ||
    (channel === undefined && (Boolean(report.voiceCall) || answeredBy !== undefined))
  const isSeen = seenAt !== undefined && status.name === undefined
  const meaning = meaningOf(status, { isText: channel === 'sms', error })
  const named = isSeen ? 'SEEN' : (wordOf(status.name) ?? `GROUP_${status.groupId ?? 'UNKNOWN'}`)
  const why = wordOf(error?.name)
  const rawStatus = why === undefined || why === 'NO_ERROR' ? named : `${named} ${why}`
  const known = meaning?.receipt ?? 'unknown'
  return {
    status: isSeen ? 'delivered' : isCall ? ofCall(known, answeredBy) : known,
    rawStatus,
    eventKey: `${messageId}:${rawStatus}`,
    providerMessageId: messageId,
    attemptId: attemptId ?? (/^att_\w+$/.test(messageId) ? messageId : undefined),
    at: dateOf(seenAt ?? doneAt),
    cost: costOf(report),
    ...(meaning?.refused && { code: codeOf(named, why) }),
  }
}

/** An undelivered message's error says more than its status; a rejected one's status says it all. */
const codeOf = (named: string, why: string | undefined): string =>
  named.startsWith('UNDELIVERABLE') && why !== undefined && why !== 'NO_ERROR' ? why : named

/** Errors of calls that were put through: who, or what, answered. Their names where there is one, else their ids. */
const machineIds: ReadonlySet<number | undefined> = new Set([5001, 10_002])
const humanIds: ReadonlySet<number | undefined> = new Set([10_001])

/**
 * Who answered a call. Infobip says it in `answeredBy`, which the description of its reports ties to calls with menus, or
 * by an error such as VOICE_ANSWERED_MACHINE (5001) or MACHINE_DETECTED (10002) beside a status of success.
 */
function answererOf({ voiceCall, error }: Report): 'machine' | 'human' | undefined {
  const signs = [voiceCall?.answeredBy ?? '', error?.name ?? '']
  if (signs.some((sign) => /(^|_)(machine|voicemail|fax)(_|$)/i.test(sign))) return 'machine'
  if (machineIds.has(error?.id)) return 'machine'
  const isHuman = signs.some((sign) => /(^|_)human(_|$)/i.test(sign)) || humanIds.has(error?.id)
  return isHuman ? 'human' : undefined
}

/** A call that reached its phone was answered, by somebody or by a machine. */
function ofCall(status: Receipt['status'], answeredBy: 'machine' | 'human' | undefined) {
  const isThrough = status === 'delivered' || (status === 'unknown' && answeredBy !== undefined)
  if (!isThrough) return status
  return answeredBy === 'machine' ? 'failed.retryable' : 'answered'
}

const wordOf = (name: string | undefined): string | undefined =>
  name !== undefined && /^[A-Z][A-Z0-9_]{1,48}$/.test(name) ? name : undefined

/** Written as `2026-11-23T05:00:00.000+0000`. */
export const dateOf = (text: string | undefined): Date | undefined =>
  text === undefined ? undefined : new Date(text.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'))

const isPending = ({ groupId }: z.infer<typeof Status> = {}): boolean => groupId === 1

/** The whole message's price, or the whole call's, once it is known: the first one that is told counts. */
export function costOf(report: Report): Receipt['cost'] {
  const { price, messageCount = 1, voiceCall, duration, status } = report
  if (!price || isPending(status)) return undefined
  const { pricePerMessage, pricePerSecond, currency } = price
  const seconds = voiceCall?.chargedDuration ?? voiceCall?.duration ?? duration
  const amount =
    pricePerMessage === undefined
      ? pricePerSecond !== undefined && typeof seconds === 'number'
        ? pricePerSecond * seconds
        : undefined
      : pricePerMessage * messageCount
  return amount === undefined ? undefined : { amount: amount.toFixed(6), currency }
}

/** Where each channel's messages are looked up; WhatsApp's is not in the published contract [3P]. */
export const logsPath = {
  sms: '/sms/3/logs',
  voice: '/tts/3/logs',
  whatsapp: '/whatsapp/2/logs',
} as const satisfies Partial<Record<Channel, string>>
/** Ids of one question: all of them together have 2,048 characters [S]. */
const idsAtOnce = 50

interface Api {
  get(path: string, signal: AbortSignal, more?: { maxAnswerBytes: number }): Promise<Answer>
}

/** Asks the logs, which keep a message for 48 hours and can be asked again, unlike the reports. */
export const pollerOf = (api: Api): ReceiptPoller => ({
  async pollReceipts(messages, signal) {
    const byChannel = Map.groupBy(messages, ({ channel = 'sms' }) => channel)
    const questions = [...byChannel].flatMap(([channel, own]) =>
      Array.from({ length: Math.ceil(own.length / idsAtOnce) }, (_, index) =>
        ask(api, channel, own.slice(index * idsAtOnce, (index + 1) * idsAtOnce), signal),
      ),
    )
    const answers = await Promise.allSettled(questions)
    const [failure] = answers.filter(({ status }) => status === 'rejected')
    // A key without the right to one channel's logs must not keep the other channels from theirs.
    if (failure?.status === 'rejected' && answers.every(({ status }) => status === 'rejected'))
      throw failure.reason
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  },
})

async function ask(
  api: Api,
  channel: Channel,
  messages: Parameters<ReceiptPoller['pollReceipts']>[0],
  signal: AbortSignal,
): Promise<Receipt[]> {
  if (channel !== 'sms' && channel !== 'voice' && channel !== 'whatsapp') return []
  const path = logsPath[channel]
  const ids = messages.map(({ providerMessageId: id }) => id)
  const answer = await api.get(
    `${path}?messageId=${ids.map(encodeURIComponent).join(',')}`,
    signal,
    {
      // The texts come back too.
      maxAnswerBytes: listBytes,
    },
  )
  // An account may have no such log: the others are still to be asked.
  if (isNoAnswer(answer)) return []
  return Reports.parse(acceptedBody(answer))
    .filter(({ messageId }) => ids.includes(messageId))
    .map((report) => ({ ...receiptOf(report, channel), attemptId: undefined }))
}
