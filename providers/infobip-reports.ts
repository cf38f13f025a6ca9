import { z } from 'zod'
import { parseJson } from './http'
import { meaningOf } from './infobip-codes'
import type { Receipt } from './provider'

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
  price: Price,
  status: Status.optional().catch(undefined),
  error: z
    .object({
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
  Reports.parse(parseJson(body.toString('utf8'))).map(receiptOf)

function receiptOf(report: Report): Receipt {
  const { messageId, status = {}, error, seenAt, doneAt } = report
  const [, channel, attemptId] = /^(sms|voice|whatsapp):(att_\w+)$/.exec(
    report.callbackData ?? '',
  ) ?? [undefined, undefined, undefined]
  const isCall = channel === 'voice' || (channel === undefined && Boolean(report.voiceCall))
  const isSeen = seenAt !== undefined && status.name === undefined
  const meaning = meaningOf(status, { isText: channel === 'sms', error })
  const named = isSeen ? 'SEEN' : (wordOf(status.name) ?? `GROUP_${status.groupId ?? 'UNKNOWN'}`)
  const why = wordOf(error?.name)
  const rawStatus = why === undefined || why === 'NO_ERROR' ? named : `${named} ${why}`
  return {
    status: isSeen ? 'delivered' : ofCall(meaning?.receipt ?? 'unknown', isCall, report),
    rawStatus,
    eventKey: `${messageId}:${rawStatus}`,
    providerMessageId: messageId,
    attemptId: attemptId ?? (/^att_\w+$/.test(messageId) ? messageId : undefined),
    at: dateOf(seenAt ?? doneAt),
    cost: costOf(report),
  }
}

/** A call that reached its phone was answered, by somebody or by a machine. */
function ofCall(status: Receipt['status'], isCall: boolean, { voiceCall }: Report) {
  if (!isCall || status !== 'delivered') return status
  return /^machine$/i.test(voiceCall?.answeredBy ?? '') ? 'failed.retryable' : 'answered'
}

const wordOf = (name: string | undefined): string | undefined =>
  name !== undefined && /^[A-Z][A-Z0-9_]{1,48}$/.test(name) ? name : undefined

/** Written as `2026-11-23T05:00:00.000+0000`. */
const dateOf = (text: string | undefined): Date | undefined =>
  text === undefined ? undefined : new Date(text.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'))

/** The whole message's price, or the whole call's. */
export function costOf({ price, messageCount = 1, voiceCall }: Report): Receipt['cost'] {
  if (!price) return undefined
  const { pricePerMessage, pricePerSecond, currency } = price
  const seconds = voiceCall?.chargedDuration ?? voiceCall?.duration
  const amount =
    pricePerMessage === undefined
      ? pricePerSecond !== undefined && typeof seconds === 'number'
        ? pricePerSecond * seconds
        : undefined
      : pricePerMessage * messageCount
  return amount === undefined ? undefined : { amount: amount.toFixed(6), currency }
}
