import { z } from 'zod'
import { parseJson } from '../http'
import { dateOf } from './reports'
import type { InboundMessage } from '../provider'

const words = z.string().max(5_000).optional().catch(undefined)

/**
 * One message of a person: of an SMS `text` (and `cleanText`, without a keyword before it), of WhatsApp `message`, a text
 * or a button [S infobip-sms-openapi.json, infobip-whatsapp-openapi.json].
 */
const Inbound = z.object({
  messageId: z.string().min(1).max(200),
  from: z.string().min(1).max(40),
  receivedAt: z.string().optional().catch(undefined),
  text: words,
  message: z.object({ text: words, title: words }).optional().catch(undefined),
})
const Batch = z
  .object({ results: z.array(z.unknown()) })
  .transform(({ results }) => results.flatMap((result) => Inbound.safeParse(result).data ?? []))
  .catch([])

/** Of one callback, which holds several messages where they came at once. */
export const readMessages = (body: Buffer): InboundMessage[] =>
  Batch.parse(parseJson(body.toString('utf8'))).flatMap(
    ({ messageId: id, from, receivedAt, text, message }) => {
      const said = text ?? message?.text ?? message?.title
      const at = dateOf(receivedAt)
      const isTime = at !== undefined && !Number.isNaN(at.getTime())
      return said === undefined ? [] : [{ id, from, text: said, at: isTime ? at : new Date() }]
    },
  )
