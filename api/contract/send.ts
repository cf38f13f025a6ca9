import { isIP } from 'node:net'
import { z } from 'zod'
import { foldLines } from '../../core/input/prose'
import { lifetime } from '../../core/limits'
import { publishablePurpose } from '../../core/requests/page-request'
import { risks } from '../../core/protection/risk'
import { longestLocale } from '../../core/messages/locale'
import { addressIn } from '../client-address'
import {
  Channel,
  channelFits,
  channelsFit,
  dialString,
  line,
  oneRecipient,
  purpose,
  recipient,
  requestId,
  time,
} from './common'
import { solvedChallenge } from './challenge'
import { named } from './registry'
import { listWithRules, noneTwice, type Rule, textWithRules, withBounds, withRules } from './rules'

/** Free pairs of the caller's, returned by the status call; encrypted at rest. */
const metadata = withRules(
  z.record(
    z.string().regex(/^[A-Za-z0-9_.-]{1,40}$/, 'has 1 to 40 letters of ASCII, digits, _ . or -'),
    z.string().max(500),
  ),
  { must: { maxProperties: 10 }, message: 'at most 10 pairs' },
)

/** Values of the caller's own, for limits of its own; only digests of them are kept. */
const rateLimitKeys = withRules(
  z.record(
    z
      .string()
      .regex(
        /^[a-z][a-z0-9_]{0,39}$/,
        'has 1 to 40 small letters of ASCII, digits or _, a letter first',
      ),
    z.string().min(1).max(200),
  ),
  { must: { maxProperties: 5 }, message: 'at most 5 names' },
)

const longestMessage = 500
const aboutMessages: readonly Rule[] = [
  {
    must: { pattern: String.raw`^[\s\S]*\{\{code\}\}[\s\S]*$` },
    message: 'The message must contain {{code}}.',
    code: 'INVALID_MESSAGE',
  },
  {
    must: { maxLength: longestMessage },
    message: `The message is longer than ${longestMessage} characters.`,
    code: 'INVALID_MESSAGE',
  },
]

const legalBases = [
  'consent',
  'contract',
  'legal_obligation',
  'vital_interests',
  'public_task',
  'legitimate_interests',
] as const

export const SendBody = named(
  'SendBody',
  withRules(
    z.strictObject({
      ...recipient,
      channel: Channel.optional().describe('The first channel; the policy’s others follow.'),
      channels: listWithRules(z.array(Channel).min(1).max(5), noneTwice('channel'))
        .optional()
        .describe('The exact channels and their order; one alone means no failover.'),
      expiry_seconds: withBounds(z.int(), {
        must: { minimum: lifetime.min, maximum: lifetime.max },
        message: `expiry_seconds must be from ${lifetime.min} to ${lifetime.max}.`,
        code: 'INVALID_EXPIRY',
      })
        .optional()
        .describe(
          'How long the code is valid: 30 to the app’s maximum; 300 when absent, 180 with high risk.',
        ),
      message: withBounds(z.string().overwrite(foldLines), ...aboutMessages)
        .optional()
        .describe(
          `The text for sms, email and voice. {{code}} is required, {{minutes}} and {{brand}} are optional; at most ${longestMessage} characters.`,
        )
        .meta({ examples: ['Your verification code is {{code}}. It expires in 5 minutes.'] }),
      locale: z
        .string()
        .max(longestLocale)
        .optional()
        .describe(
          'The reader’s language: a BCP 47 tag, or a locale of Java or POSIX. When absent, or when no language is in it, that of the number’s country; a text of your own is read aloud in it.',
        )
        .meta({ examples: ['fr-CI'] }),
      purpose: textWithRules(purpose, {
        must: { not: { const: publishablePurpose } },
        message: 'is that of publishable keys: choose another',
      }).optional(),
      risk: z
        .enum(risks)
        .optional()
        .describe(
          'low: the cheapest channel goes first. high: voice or WhatsApp does, and the code lives 180 s at most.',
        ),
      ip_address: z
        .string()
        // Back ends hand on what their own proxy told them.
        .overwrite((text) => addressIn(text) ?? text)
        .refine(
          (text) => isIP(text) !== 0 && !text.includes('%'),
          'must be an IPv4 or IPv6 address, without a zone',
        )
        .optional()
        .describe(
          'The end user’s address, kept for the audit; a port behind it is ignored. Sends are limited by it, IPv6 by its /56.',
        ),
      consent: z
        .strictObject({
          text_version: line(1, 100).describe('Which wording the user agreed to.'),
          given_at: z.iso
            .datetime({ offset: true, error: 'must be a time as in RFC 3339' })
            .optional()
            .describe(
              'When. Kept as the time of this call when absent, which lifts no withdrawal.',
            ),
          source: line(1, 100).optional().describe('Where: a page, a form, a call.'),
          basis: z
            .enum(legalBases)
            .optional()
            .describe('The legal basis after GDPR art. 6(1); consent when absent.'),
        })
        .optional()
        .describe(
          'What the user agreed to and when; kept apart, so that it can be erased. Required where the app says so. With a given_at later than a withdrawal, it lifts it.',
        ),
      brand: line(1, 30)
        .optional()
        .describe('Who the message is from; the app’s brand when absent.'),
      rate_limit_keys: rateLimitKeys
        .optional()
        .describe(
          'What else to count this send by, as in {"device": "…"}: names that the policy has limits for.',
        ),
      metadata: metadata.optional().describe('At most 10 pairs of text.'),
      challenge: solvedChallenge.optional(),
    }),
    oneRecipient,
    ...channelFits,
    ...channelsFit,
  ),
)
export type SendBody = z.infer<typeof SendBody>

/** All that a publishable key may say: the text, the lifetime and the purpose are the app's. */
export const publishableSendFields: readonly string[] = [
  'phone_number',
  'channel',
  'locale',
  'challenge',
] satisfies (keyof SendBody)[]

export const ProviderAnswer = named(
  'ProviderAnswer',
  z.object({
    status: z.enum(['accepted', 'refused']),
    provider: z.string(),
    error_code: z.enum(['INVALID_NUMBER', 'BLOCKED']).optional(),
  }),
)

const opened = {
  request_id: requestId,
  channel: Channel.describe('The channel in progress.'),
  expires_at: time,
  resend_after: z.int().describe('Seconds to wait before offering "send again".'),
  instruction: dialString.optional(),
}

export const SendAnswer = named(
  'SendAnswer',
  z.object({
    status: z.literal('sent'),
    ...opened,
    resend: z
      .enum(['sent', 'already_sending'])
      .optional()
      .describe(
        'A request for this recipient was live: its code goes out again, or is just going out.',
      ),
    provider_answer: ProviderAnswer.optional().describe(
      'With Prefer: wait, the first answer of a provider.',
    ),
    warnings: z
      .array(z.object({ code: z.enum(['IP_ADDRESS_MISSING']), message: z.string() }))
      .optional()
      .describe('What is missing from the call, though it was taken.'),
  }),
)
export type SendAnswer = z.infer<typeof SendAnswer>

export const QueuedAnswer = named(
  'QueuedAnswer',
  z.object({ status: z.literal('queued'), ...opened }),
)

export const ResendBody = named(
  'ResendBody',
  z.strictObject({
    channel: Channel.optional().describe(
      'Where to send the same code; the channel in progress when absent.',
    ),
  }),
)

export const CommandAnswer = named(
  'CommandAnswer',
  z.object({
    status: z.enum(['sent', 'moving', 'cancelled']),
    request_id: requestId,
    channel: Channel.optional(),
    resend: z.enum(['sent', 'already_sending']).optional(),
    resend_after: z.int().optional(),
    instruction: dialString.optional(),
  }),
)
export type CommandAnswer = z.infer<typeof CommandAnswer>
