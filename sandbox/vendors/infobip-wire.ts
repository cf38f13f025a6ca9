import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Channel } from '../../core/channel'

/** A message in the one form that this fake goes on with. */
export interface Sending {
  channel: Channel
  to: string
  messageId: string
  text: string
  code?: string
  validForSeconds?: number | undefined
  callbackData?: string | undefined
  reportTo?: string | undefined
}

const to = z.string().regex(/^[1-9]\d{6,14}$/, 'must be a number without +')
const destination = z.tuple([z.object({ to, messageId: z.string().min(1).max(100).optional() })])
const callbackData = z.string().max(700).optional()
const idOr = (messageId: string | undefined) => messageId ?? randomUUID()

const Sms = z
  .object({
    messages: z.tuple([
      z.object({
        sender: z.string().min(1),
        destinations: destination,
        content: z.object({ text: z.string().min(1) }),
        options: z
          .object({
            validityPeriod: z.object({
              amount: z.int().min(1),
              timeUnit: z.enum(['SECONDS', 'MINUTES', 'HOURS']).default('MINUTES'),
            }),
          })
          .optional(),
        webhooks: z
          .object({
            delivery: z.object({ url: z.url().optional() }),
            contentType: z.literal('application/json'),
            callbackData,
          })
          .optional(),
      }),
    ]),
  })
  .transform(({ messages: [message] }): Sending => {
    const [{ to, messageId }] = message.destinations
    const { amount = 172_800, timeUnit = 'SECONDS' } = message.options?.validityPeriod ?? {}
    return {
      ...{ channel: 'sms', to, messageId: idOr(messageId), text: message.content.text },
      validForSeconds: amount * { SECONDS: 1, MINUTES: 60, HOURS: 3_600 }[timeUnit],
      callbackData: message.webhooks?.callbackData,
      reportTo: message.webhooks?.delivery.url,
    }
  })

const Call = z
  .object({
    messages: z.tuple([
      z.object({
        from: to,
        destinations: destination,
        text: z.string().min(1).max(1_400),
        language: z.string().regex(/^[a-z]{2}(-[a-z]{2})?$/),
        speechRate: z.number().min(0.5).max(2).optional(),
        pause: z.int().min(0).max(10).optional(),
        repeatDtmf: z.string().optional(),
        ringTimeout: z.int().min(1).optional(),
        machineDetection: z.enum(['hangup', 'continue']).optional(),
        /** Minutes. */
        validityPeriod: z.int().min(1).max(2_880).optional(),
        notifyUrl: z.url().optional(),
        notifyContentType: z.literal('application/json').optional(),
        callbackData,
      }),
    ]),
  })
  .transform(({ messages: [message] }): Sending => {
    const [{ to, messageId }] = message.destinations
    return {
      ...{ channel: 'voice', to, messageId: idOr(messageId), text: message.text },
      validForSeconds: (message.validityPeriod ?? 2_880) * 60,
      callbackData: message.callbackData,
      reportTo: message.notifyUrl,
    }
  })

const Template = z
  .object({
    messages: z.tuple([
      z.object({
        from: to,
        to,
        messageId: z.string().min(1).max(100).optional(),
        content: z.object({
          templateName: z.string().regex(/^[a-z0-9_]+$/),
          templateData: z.object({
            body: z.object({ placeholders: z.tuple([z.string().min(1)]) }),
            buttons: z.tuple([z.object({ type: z.literal('URL'), parameter: z.string().min(1) })]),
          }),
          language: z.string().min(2),
        }),
        callbackData,
        notifyUrl: z.url().optional(),
      }),
    ]),
  })
  .transform(({ messages: [message] }): Sending => {
    const { templateName, templateData, language } = message.content
    const [code] = templateData.body.placeholders
    return {
      ...{ channel: 'whatsapp', to: message.to, messageId: idOr(message.messageId) },
      ...{ text: `${templateName} (${language}): ${code}`, code },
      callbackData: message.callbackData,
      reportTo: message.notifyUrl,
    }
  })

/** Paths that take messages, each with the body that it wants. */
export const sends = [
  ['/sms/3/messages', Sms],
  ['/tts/3/advanced', Call],
  ['/whatsapp/1/message/template', Template],
] as const
