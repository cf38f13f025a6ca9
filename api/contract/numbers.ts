import { z } from 'zod'
import { listKinds, listVerdicts } from '../../core/protection/lists'
import { appId, appInQuestion } from './admin'
import { line, phoneNumber, phoneNumberInput, time } from './common'
import { named } from './registry'

export const entryId = z
  .string()
  .regex(/^lst_[a-z2-7]{26}$/, 'is no entry’s id')
  .meta({ examples: ['lst_k3v7x2m4q6t5z7a2b4c6d3e5f7'] })
export const testNumberId = z
  .string()
  .regex(/^tst_[a-z2-7]{26}$/, 'is no test number’s id')
  .meta({ examples: ['tst_k3v7x2m4q6t5z7a2b4c6d3e5f7'] })

const verdict = z
  .enum(listVerdicts)
  .describe('block: no send. allow: the fraud rules do not look at it, limits and money do.')
const kind = z
  .enum(listKinds)
  .describe(
    'phone_number; prefix: the first 2 to 14 digits of numbers, with +; country: two letters; network: of end users, IPv4 or IPv6 with its bits; email; domain: of e-mail addresses, and those in it.',
  )

export const ListEntryBody = named(
  'ListEntryBody',
  z.strictObject({
    app_id: appId
      .optional()
      .describe('The app; an operator who names none means every app. An app’s key means its own.'),
    verdict,
    kind,
    value: z.string().min(1).max(254).describe('Whom it is about, as its kind says.'),
    note: line(0, 200).optional().describe('For people; encrypted.'),
    expires_at: z.iso
      .datetime({ offset: true, error: 'must be a time as in RFC 3339' })
      .optional()
      .describe('Until when; without end when absent.'),
  }),
)
export type ListEntryBody = z.infer<typeof ListEntryBody>

export const ListEntryAnswer = named(
  'ListEntry',
  z.object({
    entry_id: entryId,
    app_id: appId.nullable().describe('null: of the operators, for every app.'),
    verdict,
    kind,
    value: z
      .string()
      .describe('The end of a number or of a long prefix, and most of a mailbox, are not shown.'),
    note: z.string().nullable(),
    expires_at: time.nullable(),
    created_at: time,
  }),
)
export type ListEntryAnswer = z.infer<typeof ListEntryAnswer>

export const ListQuery = z.strictObject({
  app_id: appId
    .optional()
    .describe('The app; an operator who names none reads the operators’ own list.'),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .optional()
    .describe('Entries of a page; 50 when absent.'),
  cursor: entryId.optional().describe('`next_cursor` of the page before.'),
})

export const ListAnswer = named(
  'ListEntries',
  z.object({
    entries: z.array(ListEntryAnswer).describe('In the order of their ids.'),
    next_cursor: z.string().nullable(),
  }),
)

export const RemovedAnswer = named('Removed', z.object({ removed: z.literal(true) }))

export const TestNumberBody = named(
  'TestNumberBody',
  z.strictObject({
    app_id: appInQuestion,
    phone_number: phoneNumberInput,
    code: z
      .string()
      .min(1)
      .max(100)
      .describe(
        'Its code: of the app’s alphabet, and as long as the app’s codes are; not trivial, as 123456 is.',
      )
      .meta({ examples: ['246810'] }),
  }),
)
export type TestNumberBody = z.infer<typeof TestNumberBody>

export const TestNumberAnswer = named(
  'TestNumber',
  z.object({
    test_number_id: testNumberId,
    app_id: appId,
    phone_number: phoneNumber,
    code: z.string(),
    created_at: time,
  }),
)
export type TestNumberAnswer = z.infer<typeof TestNumberAnswer>

export const TestNumbersQuery = z.strictObject({ app_id: appInQuestion })

export const TestNumbersAnswer = named(
  'TestNumbers',
  z.object({ test_numbers: z.array(TestNumberAnswer).describe('In the order of their ids.') }),
)
