import { z } from 'zod'
import { hookFailures } from '../../core/protection/hook'
import { appId, appInQuestion } from './admin'
import { line, time } from './common'
import { named } from './registry'
import { SendBody } from './send'

const onFailure = z
  .enum(hookFailures)
  .describe('What becomes of a send that the hook gives no usable answer about in time.')

export const HookBody = named(
  'PreSendHookBody',
  z.strictObject({
    app_id: appInQuestion,
    url: z
      .string()
      .max(500)
      .refine((text) => URL.canParse(text), 'is no URL')
      .describe('https, on port 443 or one from 1024 on, at an address of the public internet.')
      .meta({ examples: ['https://shop.example/otp/pre-send'] }),
    on_failure: onFailure,
  }),
)

const hook = {
  app_id: appId,
  url: z.string(),
  on_failure: onFailure,
  changed_at: time,
}

export const HookAnswer = named('PreSendHook', z.object(hook))
export type HookAnswer = z.infer<typeof HookAnswer>

export const PutHookAnswer = named(
  'PutPreSendHook',
  z.object({
    ...hook,
    secret: z
      .string()
      .optional()
      .describe('Signs the calls. Only in the answer that registers the hook, and nowhere else.'),
  }),
)

export const RemovedHookAnswer = named('RemovedPreSendHook', z.object({ removed: z.boolean() }))

export const HookRotation = named('PreSendHookRotation', z.strictObject({ app_id: appInQuestion }))

const reason = line(0, 200).optional()
const challenge = z.boolean().optional()
const { channels, locale, risk } = SendBody.shape

/** What a hook may answer: nothing else counts as an answer. */
export const HookDecision = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('allow'), reason, challenge }),
  z.strictObject({ action: z.literal('deny'), reason }),
  z.strictObject({ action: z.literal('alter'), reason, challenge, channels, locale, risk }),
])
export type HookDecision = z.infer<typeof HookDecision>
