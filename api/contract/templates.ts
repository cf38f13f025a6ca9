import { z } from 'zod'
import { channels } from '../../core/channel'
import { localeShape, longestLocale, readLocale } from '../../core/messages/locale'
import { foldTyped } from '../../core/input/fold'
import { line, prose, time } from './common'
import { appId } from './admin'
import { named } from './registry'

/** Beside the design's three, as the languages of plurals need it: see docs/messages.md. */
const parts = {
  text: prose(1, 1000).describe(
    '{{code}} is required; {{minutes}}, {{lifetime}}, {{brand}} are not.',
  ),
  subject: line(1, 150).nullable().optional().describe('Of an e-mail; otpilot’s own when absent.'),
  html: prose(1, 10_000)
    .nullable()
    .optional()
    .describe('Of an e-mail: a whole page, with {{code}}; made of the text when absent.'),
  key_prompt: prose(1, 300)
    .nullable()
    .optional()
    .describe('Of a call: asks for a key before the code is read; otpilot’s own when absent.'),
}

const locale = z
  .string()
  .max(longestLocale)
  .overwrite(foldTyped)
  .regex(localeShape, { error: 'must be a language tag such as en or fr-CI', abort: true })
  .transform((text, context) => {
    const read = readLocale(text)
    if (read !== undefined) return read
    context.addIssue({ code: 'custom', message: 'must be a language tag such as en or fr-CI' })
    return z.NEVER
  })

export const TemplateBody = named('TemplateBody', z.strictObject(parts))
export type TemplateBody = z.infer<typeof TemplateBody>

/** Where a template stands: the end of its path. */
export const TemplatePlace = z.object({ channel: z.enum(channels), locale })

const TemplateWarning = named(
  'TemplateWarning',
  z.object({ field: z.string(), rule: z.string(), message: z.string() }),
)

const answered = {
  text: z.string(),
  subject: z.string().nullable(),
  html: z.string().nullable(),
  key_prompt: z.string().nullable(),
}

const template = {
  app_id: appId,
  channel: z.enum(channels),
  locale: z.string(),
  ...answered,
  revision: z.int().describe('Counts the changes of all of the app’s templates.'),
  changed_at: time,
}

export const TemplateAnswer = named(
  'Template',
  z.object({
    ...template,
    warnings: z.array(TemplateWarning).describe('What is likely to be a mistake, or to cost more.'),
  }),
)
export type TemplateAnswer = z.infer<typeof TemplateAnswer>

export const TemplatesAnswer = named(
  'Templates',
  z.object({
    templates: z
      .array(z.object(template))
      .describe('Those in force, by channel and locale. Everything else is otpilot’s own words.'),
  }),
)

export const DeletedTemplateAnswer = named(
  'DeletedTemplate',
  z.object({ deleted: z.boolean().describe('Whether there was one.') }),
)

export const PreviewBody = named(
  'PreviewBody',
  z.strictObject({
    channel: z.enum(channels),
    locale: z
      .string()
      .max(longestLocale)
      .optional()
      .describe(
        'What the reader reads, as in a send; en when absent, or when no language is in it.',
      ),
    ...parts,
    text: parts.text.optional().describe('A template to try; when absent, what is in force.'),
    brand: line(1, 30).optional(),
  }),
)
export type PreviewBody = z.infer<typeof PreviewBody>

export const PreviewAnswer = named(
  'Preview',
  z.object({
    author: z.enum(['given', 'app', 'otpilot']).describe('Whose words they are.'),
    locale: z.string().describe('What the words are in.'),
    ...answered,
    sms: z
      .object({
        encoding: z.enum(['GSM-7', 'UCS-2']),
        units: z.int().describe('Septets, or units of UTF-16.'),
        parts: z.int().describe('What is billed.'),
      })
      .nullable()
      .describe('null on other channels.'),
    warnings: z.array(TemplateWarning),
  }),
)
export type PreviewAnswer = z.infer<typeof PreviewAnswer>
