import { z } from 'zod'
import { receiptOf, statusWord } from './codes'
import { acceptedBody } from '../answer'
import { type Answer, type HttpCall, isNoAnswer, listBytes, parseJson } from '../http'
import type { InboundCallback, Receipt, ReceiptPoller } from '../provider'

/** What of the account's API reports are asked by. */
interface Api {
  get(path: string, signal: AbortSignal): Promise<Answer>
  post(
    path: string,
    payload: object,
    signal: AbortSignal,
    more?: Pick<HttpCall, 'maxAnswerBytes'>,
  ): Promise<Answer>
}

const Id = z.union([z.string().min(1), z.number().transform(String)])
const Report = z.object({
  sms_id: z.string().regex(/^[\w.:-]{1,200}$/),
  status: z.string().regex(/^[A-Za-z][A-Za-z _-]{0,39}$/),
})

/** In the query, or else in the form or the JSON of a POST [3P]. */
export function readReceipts({ url, body }: InboundCallback): Receipt[] {
  const text = body.toString('utf8')
  const json = parseJson(text)
  const fields = typeof json === 'object' && json !== null ? json : formOf(text)
  const { data } = Report.safeParse({ ...fields, ...Object.fromEntries(new URL(url).searchParams) })
  return data ? [receiptFrom(data.sms_id, data.status)] : []
}

const formOf = (text: string) => Object.fromEntries(new URLSearchParams(text))

const receiptFrom = (id: string, status: string): Receipt => {
  const word = statusWord(status)
  return {
    status: receiptOf(word),
    rawStatus: word,
    eventKey: `${id}:${word}`,
    providerMessageId: id,
  }
}

/** By the messages' ids [3P]; a list of entries that name themselves is understood too. */
const Reports = z
  .object({
    data: z.union([
      z.record(z.string(), z.unknown()),
      z.array(z.looseObject({ id: Id.optional(), ID: Id.optional() }).catch({})),
    ]),
  })
  .catch({ data: {} })
const ReportOf = z.object({ status: Report.shape.status })
/** Of one message [S]. */
const Details = z.object({ data: z.unknown() }).catch({ data: undefined })

/** What is said of each message, by its id. */
async function reportsOf(
  api: Api,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<Map<string | undefined, unknown>> {
  const answer = await api.post('/api/v2/sms/message-reports', { msg_ids: ids }, signal, {
    // The texts come back too.
    maxAnswerBytes: listBytes,
  })
  // The question about many is known from other people's code only, that about one from Arkesel's own.
  if (isNoAnswer(answer)) return detailsOf(api, ids, signal)
  const { data } = Reports.parse(acceptedBody(answer))
  return new Map(
    Array.isArray(data) ? data.map((entry) => [entry.id ?? entry.ID, entry]) : Object.entries(data),
  )
}

/** One after the other; those that the time did not suffice for are asked about in the next round. */
async function detailsOf(api: Api, ids: readonly string[], signal: AbortSignal) {
  const details = new Map<string | undefined, unknown>()
  for (const id of ids) {
    try {
      const answer = await api.get(`/api/v2/sms/${encodeURIComponent(id)}`, signal)
      if (!isNoAnswer(answer)) details.set(id, Details.parse(acceptedBody(answer)).data)
    } catch (error) {
      if (details.size === 0) throw error
      break
    }
  }
  return details
}

/** Asks for all messages at once, or else one by one. */
export function pollerOf(api: Api): ReceiptPoller {
  return {
    async pollReceipts(messages, signal) {
      // Where it named no id, ours stands in its place.
      const named = messages.filter(({ attemptId, providerMessageId: id }) => id !== attemptId)
      if (named.length === 0) return []
      const ids = named.map(({ providerMessageId: id }) => id)
      const reported = await reportsOf(api, ids, signal)
      return named.flatMap(({ attemptId, providerMessageId: id }) => {
        const { data: report } = ReportOf.safeParse(reported.get(id))
        // So it says of a message that it does not know.
        if (!report || statusWord(report.status) === 'ERROR') return []
        return [{ ...receiptFrom(id, report.status), attemptId }]
      })
    },
  }
}
