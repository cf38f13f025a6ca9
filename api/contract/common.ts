import { z } from 'zod'
import { addressOf, assurances, channels, type RecipientKind } from '../../core/channel'
import { actions, type ErrorCode, errorCodes } from '../../core/error-code'
import { faultOfLine, faultOfText, foldLines } from '../../core/input/prose'
import { shownReasons } from '../../core/requests/page-request'
import { states } from '../../core/requests/state'
import { ChallengeOffer } from './challenge'
import { named } from './registry'
import { anyOf, type Condition, exactlyOneOf, implies, type Rule, withBounds } from './rules'

export const Channel = named('Channel', z.enum(channels))
export const Assurance = named(
  'Assurance',
  z
    .enum(assurances)
    .describe(
      'What the right code proves: `restricted`, as NIST SP 800-63B-4 calls codes over the telephone network, `contact_check`, by e-mail: no second factor, or `none`, of a test number: no message was sent.',
    ),
)
export const ofTestNumber = z
  .literal(true)
  .optional()
  .describe('The request is to a test number: its code is fixed, and nobody was sent a message.')
export const State = named('RequestState', z.enum(states))
export const Reason = named('RequestReason', z.enum(shownReasons))

export const phoneNumber = z
  .string()
  .describe(
    'As people write it; with +, 00 or nothing before the country code. National form only with the app’s default_country.',
  )
  .meta({ examples: ['+233241234567'] })
/** As input: what is shorter can be no number. */
export const phoneNumberInput = withBounds(phoneNumber, {
  must: { minLength: 4 },
  message: errorCodes.INVALID_NUMBER[1],
  code: 'INVALID_NUMBER',
})
const email = withBounds(z.string(), {
  must: { minLength: 3 },
  message: errorCodes.INVALID_EMAIL[1],
  code: 'INVALID_EMAIL',
}).describe('Instead of phone_number, for the channel email.')

/** The members that name whom a call is about, and the rule about them. */
export const recipient = { phone_number: phoneNumberInput.optional(), email: email.optional() }
export const oneRecipient = exactlyOneOf('phone_number', 'email')

const where: Record<RecipientKind, { given: string; to: string }> = {
  phone: { given: 'phone_number', to: 'a phone number' },
  email: { given: 'email', to: 'an e-mail address' },
}

/** What a member names goes to the kind of address that is given: one channel, or a list of them. */
const fitting = (member: 'channel' | 'channels'): Rule[] =>
  Object.entries(where).map(([kind, { given, to }]): Rule => {
    const list = channels.filter((channel) => addressOf(channel) === kind)
    const named: Condition = member === 'channel' ? { enum: list } : { items: { enum: list } }
    return {
      must: implies({ required: [given] }, { properties: { [member]: named } }),
      message: `a message to ${to} goes by ${anyOf(list)}`,
      member,
    }
  })
export const channelFits: readonly Rule[] = fitting('channel')
export const channelsFit: readonly Rule[] = fitting('channels')

export const requestId = z
  .string()
  .describe('Also the id of the workflow in Temporal.')
  .meta({ examples: ['otp_k3v7x2m4q6t5z7a2b4c6d3e5f7'] })
/** A request id as this service makes them. */
export const requestIdShape = /^otp_[a-z2-7]{26}$/
/** A request id as input: what cannot be one is refused before it reaches Postgres. */
export const requestIdInput = requestId.regex(/^[A-Za-z0-9_]{1,64}$/, 'is no request id')
export const dialString = z
  .string()
  .describe('What the user dials to see the code, until the request ends.')
  .meta({ examples: ['*384*77#'] })
export const time = z.string().describe('RFC 3339, UTC.').meta({ format: 'date-time' })
export const purpose = z
  .string()
  .regex(/^[a-z0-9_-]{1,40}$/, 'lower-case letters, digits, - and _, at most 40')
  .describe(
    'Keeps codes for different things apart; `default` when absent. `publishable` is what publishable keys send for, and they alone.',
  )

const codes = Object.keys(errorCodes) as ErrorCode[]

export const ProblemBody = named(
  'Problem',
  z
    .object({
      type: z.string(),
      title: z.string(),
      status: z.int(),
      detail: z.string(),
      instance: z.string(),
      error_code: z.enum(codes),
      message: z.string().describe('One sentence for people; the same as detail.'),
      request_id: z.string().nullable(),
      trace_id: z.string().describe('Leads to this call in the logs.'),
      action: z.enum(actions).optional().describe('What to do next.'),
      challenge: ChallengeOffer.optional().describe(
        'Which challenges may be solved for this call.',
      ),
      errors: z
        .array(z.object({ field: z.string(), message: z.string() }))
        .optional()
        .describe('Every field that is not as described.'),
    })
    .describe('RFC 9457, with error_code and message beside its own members.'),
)

const sentBy =
  (faultOf: (text: string) => string | undefined) =>
  (text: string, context: z.RefinementCtx): void => {
    const message = faultOf(text)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  }

/** Text that reaches people, its line ends made `\n` before it is measured. Lengths are in UTF-16 units. */
export const prose = (least: number, most: number) =>
  z.string().overwrite(foldLines).min(least).max(most).superRefine(sentBy(faultOfText))

/** As {@link prose}, on one line: names, subjects, notes. */
export const line = (least: number, most: number) =>
  z.string().min(least).max(most).superRefine(sentBy(faultOfLine))
