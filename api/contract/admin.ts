import { getCountries } from 'libphonenumber-js/max'
import { z } from 'zod'
import { alphabets } from '../../core/verify/alphabet'
import { channels } from '../../core/channel'
import { appHashShape, domainShape, longestDomain } from '../../core/messages/autofill'
import { environments } from '../../core/requests/state'
import { scopes } from '../route'
import { line, oneRecipient, recipient, time } from './common'
import { named } from './registry'
import { implies, listWithRules, noneTwice, notBoth, textWithRules, withRules } from './rules'

export const appId = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,39}$/,
    'lower-case letters, digits and -, a letter first, at most 40 characters',
  )
  .meta({ examples: ['shop'] })
export const keyId = z
  .string()
  .regex(/^[0-9A-Za-z]{12}$/, 'is no key id')
  .describe(
    'The public part of a key: otpk_live_<key_id>_…, or after otpk_test_ and otpk_operator_.',
  )
  .meta({ examples: ['4f0RkT9xQ2Lm'] })

/** Who must give a member that others may leave out: a schema cannot say it, since it depends on the key. */
const requiredOfOperators = { 'x-required-with': 'operator' } as const

/** Whose thing a call is about: an operator names the app, an app's own key may leave it out. */
export const appInQuestion = appId
  .optional()
  .describe('The app. Required with an operator’s key; an app’s own key means its own.')
  .meta(requiredOfOperators)

const longestBrand = 30
const expirySeconds = z.int().min(30).max(600)

const settings = {
  name: line(1, 80).describe('For people who administer it.'),
  brand: line(1, longestBrand).describe('What messages call the sender; the name when absent.'),
  default_country: textWithRules(
    z.string().regex(/^[A-Z]{2}$/, { error: 'two capital letters, as GH', abort: true }),
    { must: { enum: getCountries() }, message: 'is no country with phone numbers' },
  )
    .nullable()
    .describe('Numbers in national form are read as of this country; null: they are refused.')
    .meta({ examples: ['GH'] }),
  code_length: z.int().min(6).max(10).describe('Characters of new codes.'),
  code_alphabet: z.enum(alphabets).describe('What new codes are made of.'),
  max_expiry_seconds: expirySeconds.describe('The longest life of a code that a send may ask for.'),
  high_risk_expiry_seconds: expirySeconds.describe('The longest life with risk high.'),
  queue_when_down: z
    .boolean()
    .describe('Sends are accepted as queued while Temporal is down, instead of refused.'),
  consent_required: z.boolean().describe('A send without a consent record is refused.'),
  lengthen_under_guessing: z
    .boolean()
    .describe('New codes get longer while too many wrong ones are tried across the app.'),
  region: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,39}$/, 'lower-case letters, digits and -, a letter first')
    .nullable()
    .describe(
      'Only processes with this OTPILOT_REGION serve the app; null: any. Set by operators only.',
    )
    .meta({ examples: ['eu'] }),
  autofill_domain: z
    .string()
    .max(longestDomain)
    .regex(domainShape, 'must be a host name such as shop.example, in small letters')
    .nullable()
    .describe(
      'SMS end with the line by which browsers fill the code in on pages of this host; null: they do not.',
    )
    .meta({ examples: ['shop.example'] }),
  android_app_hash: z
    .string()
    .regex(appHashShape, 'must be the 11 characters that Google Play services make of an app')
    .nullable()
    .describe('SMS have a line by which Android hands them to this app; null: they do not.')
    .meta({ examples: ['FA+9qCX9VSu'] }),
  page_channels: listWithRules(z.array(z.enum(channels)).max(channels.length), noneTwice('channel'))
    .nullable()
    .describe(
      'Channels that a send with a publishable key may name; null: all. What follows the first one is the policy’s.',
    )
    .meta({ examples: [['sms', 'whatsapp']] }),
}

const { name, ...others } = settings

export const AppBody = named(
  'AppBody',
  withRules(z.strictObject({ app_id: appId, name, ...z.object(others).partial().shape }), {
    must: implies(
      { properties: { name: { minLength: longestBrand + 1 } } },
      { required: ['brand'] },
    ),
    message: 'required, since the name is too long to be one',
    member: 'brand',
  }),
)
export type AppBody = z.infer<typeof AppBody>

export const AppChanges = named('AppChanges', z.strictObject(settings).partial())
export type AppChanges = z.infer<typeof AppChanges>

export const AppAnswer = named('App', z.object({ app_id: appId, ...settings, created_at: time }))
export type AppAnswer = z.infer<typeof AppAnswer>

/** Of calls about one app that have no body. */
export const AppQuery = z.strictObject({ app_id: appInQuestion })

export const pageSize = z.coerce
  .number()
  .int()
  .min(1)
  .max(100)
  .optional()
  .describe('Entries of a page; 50 when absent.')

export const AppsQuery = z.strictObject({
  limit: pageSize,
  cursor: appId.optional().describe('`next_cursor` of the page before.'),
})

export const AppsAnswer = named(
  'Apps',
  z.object({
    apps: z.array(AppAnswer).describe('By app_id.'),
    next_cursor: z.string().nullable(),
  }),
)

const keyStates = ['active', 'expired', 'revoked'] as const

const scopeList = listWithRules(
  z.array(z.enum(scopes)).min(1).max(scopes.length),
  noneTwice('scope'),
)
const publishableScopes = ['send', 'verify'] as const satisfies (typeof scopes)[number][]
const requestsPerMinute = z.int().min(1).max(1_000_000)

export const KeyBody = named(
  'KeyBody',
  withRules(
    z.strictObject({
      app_id: appInQuestion
        .unwrap()
        .nullable()
        .optional()
        .describe(
          'The app. Required with an operator’s key; an app’s own key may leave it out. null makes an operator’s key, which administers every app.',
        )
        .meta(requiredOfOperators),
      name: line(0, 80).optional().describe('To tell it from others, as "checkout service".'),
      environment: z
        .enum(environments)
        .describe('production makes a live key; the others make test keys.'),
      scopes: scopeList.describe('What it may do.'),
      publishable: z
        .boolean()
        .optional()
        .describe('For browsers and mobile apps: scopes within send and verify only.'),
      expires_in_days: z.int().min(1).max(3650).optional().describe('From now; or expires_at.'),
      expires_at: z.iso
        .datetime({ offset: true, error: 'must be a time as in RFC 3339' })
        .optional()
        .describe('Or expires_in_days. Neither: it does not expire.'),
      requests_per_minute: requestsPerMinute
        .optional()
        .describe('Calls a minute, over all processes; 6000 when absent.'),
    }),
    {
      must: implies(
        { required: ['publishable'], properties: { publishable: { const: true } } },
        { properties: { scopes: { items: { enum: publishableScopes } } } },
      ),
      message: 'a publishable key has no other scopes than send and verify',
      member: 'scopes',
    },
    {
      must: implies(
        { required: ['app_id'], properties: { app_id: { const: null } } },
        { properties: { scopes: { items: { const: 'admin' } }, publishable: { const: false } } },
      ),
      message: 'an operator’s key has the scope admin alone',
      member: 'scopes',
    },
    notBoth('expires_at', 'expires_in_days'),
  ),
)
export type KeyBody = z.infer<typeof KeyBody>

const key = {
  key_id: keyId,
  app_id: appId.nullable().describe('null: an operator’s key.'),
  name: z.string(),
  environment: z.enum(environments),
  scopes: z.array(z.enum(scopes)),
  publishable: z.boolean(),
  requests_per_minute: z.int(),
  replaces: keyId.nullable().describe('The key that this one was made to replace.'),
  state: z.enum(keyStates),
  created_at: time,
  expires_at: time.nullable(),
  revoked_at: time.nullable(),
  last_used_at: time.nullable().describe('At most a minute behind.'),
}

export const KeyAnswer = named('ApiKey', z.object(key))
export type KeyAnswer = z.infer<typeof KeyAnswer>

export const MadeKeyAnswer = named(
  'MadeApiKey',
  z.object({
    ...key,
    key: z.string().describe('The key itself: in this answer and nowhere else. Keep it secret.'),
  }),
)
export type MadeKeyAnswer = z.infer<typeof MadeKeyAnswer>

export const KeysQuery = z.strictObject({
  app_id: appId.optional().describe('Keys of this app only.'),
  state: z.enum(keyStates).optional(),
  limit: pageSize,
  cursor: keyId.optional().describe('`next_cursor` of the page before.'),
})

export const KeysAnswer = named(
  'ApiKeys',
  z.object({
    keys: z.array(KeyAnswer).describe('Newest first.'),
    next_cursor: z.string().nullable(),
  }),
)

export const RotationBody = named(
  'RotationBody',
  z.strictObject({
    overlap_seconds: z
      .int()
      .min(0)
      .max(2_592_000)
      .optional()
      .describe('How long the old key goes on, at most; 86400 when absent.'),
  }),
)

export const UnlockBody = named(
  'UnlockBody',
  withRules(z.strictObject({ app_id: appInQuestion, ...recipient }), oneRecipient),
)

export const UnlockAnswer = named(
  'UnlockAnswer',
  z.object({
    unlocked: z.boolean().describe('Whether there were wrong checks to forget.'),
  }),
)
