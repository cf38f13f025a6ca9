import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Channel, channels } from '../../core/channel'
import type { OwnTemplate, Template } from '../../core/messages/text'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '..'
import { type Named, statement } from '../statement'

/** Of an app that are in force. */
export const maxTemplates = 500

const TemplateRow = z.strictObject({
  channel: z.enum(channels),
  locale: z.string(),
  text: z.string(),
  subject: z.string().nullable(),
  html: z.string().nullable(),
  keyPrompt: z.string().nullable(),
  /** Counts the changes of all of the app's templates. */
  revision: z.int(),
  createdAt: z.date(),
}) satisfies z.ZodType<OwnTemplate>

/** What an app says on a channel in a language. */
export type TemplateView = z.infer<typeof TemplateRow>

const view = sql`channel, locale, text, subject, html, key_prompt as "keyPrompt", revision, created_at as "createdAt"`

/** Each locale's newest as of a revision; those taken back are among them, without a text. */
const newest = (appId: SQL, revision: SQL, channel?: SQL | Channel): SQL => sql`(
  select distinct on (channel, locale) ${view} from message_templates
  where app_id = ${appId} and revision <= ${revision} ${channel ? sql`and channel = ${channel}` : sql``}
  order by channel, locale, revision desc) newest`

/**
 * The app's template for a request's message, as JSON, null without one: as of the time when the request was made, of
 * its locale, or of a shorter one that it begins with, else the English one.
 * @param request what the row of `otp_requests` is called
 */
export function templateFor(request: SQL, channel: SQL | Channel): SQL {
  // With a hyphen at its end, fr is no beginning of fra.
  const fits = sql`starts_with(lower(${request}.locale) || '-', lower(newest.locale) || '-')`
  return sql`(
    select jsonb_build_object('locale', locale, 'text', text, 'subject', subject, 'html', html, 'keyPrompt', "keyPrompt")
    from ${newest(sql`${request}.app_id`, sql`${request}.template_revision`, channel)}
    where text is not null and (${fits} or locale = 'en')
    order by ${fits} desc, length(locale) desc limit 1)`
}

const findStatement = statement(
  'find_template',
  z.strictObject({ template: z.custom<OwnTemplate>().nullable() }),
  (p: Named<{ appId: string; channel: Channel; locale: string }>) => sql`
    select ${templateFor(sql`asked`, sql`${p.channel}::channel`)} as template
    from (select id as app_id, template_revision, ${p.locale}::text as locale from apps where id = ${p.appId}) asked`,
)

/** As {@link templateFor}, as it would be for a request made now. */
export async function findTemplate(
  db: Queries,
  wanted: { appId: string; channel: Channel; locale: string },
): Promise<OwnTemplate | undefined> {
  const row = await db.one(findStatement(wanted))
  return row?.template ?? undefined
}

const listStatement = statement(
  'list_templates',
  TemplateRow,
  (p: Named<{ appId: string }>) => sql`
    select newest.channel, newest.locale, newest.text, newest.subject, newest.html, newest."keyPrompt",
      newest.revision, newest."createdAt"
    from apps a, lateral ${newest(sql`a.id`, sql`a.template_revision`)}
    where a.id = ${p.appId} and newest.text is not null order by channel, locale`,
)

/** Those in force, by channel and locale. */
export const listTemplates = (db: Queries, appId: string): Promise<TemplateView[]> =>
  db.many(listStatement({ appId }))

interface Place {
  appId: string
  channel: Channel
  locale: string
  /** Who does it, for the audit trail: `key:<id>` or `cli`. */
  actor: string
}

interface Change extends Omit<Place, 'actor'> {
  revision: number
}
interface NewTemplate extends Change {
  text: string
  subject: string | null
  html: string | null
  keyPrompt: string | null
}

/** As of the change's own revision. */
const newestAt = (p: Named<Change>, channel?: SQL): SQL =>
  newest(sql`${p.appId}`, sql`${p.revision}::int`, channel)

const putStatement = statement(
  'put_template',
  TemplateRow,
  (p: Named<NewTemplate>) => sql`
      insert into message_templates (app_id, channel, locale, revision, text, subject, html, key_prompt)
      select ${p.appId}, ${p.channel}::channel, ${p.locale}, ${p.revision}::int, ${p.text}, ${p.subject}, ${p.html}, ${p.keyPrompt}
      where (select count(*) from ${newestAt(p)}
        where text is not null and (channel <> ${p.channel}::channel or locale <> ${p.locale})) < ${maxTemplates}
      returning ${view}`,
)

const takeBackStatement = statement(
  'take_back_template',
  z.strictObject({ revision: z.int() }),
  (p: Named<Change>) => sql`
      insert into message_templates (app_id, channel, locale, revision)
      select ${p.appId}, ${p.channel}::channel, ${p.locale}, ${p.revision}::int
      from ${newestAt(p, sql`${p.channel}::channel`)}
      where newest.locale = ${p.locale} and text is not null returning revision`,
)

/**
 * Sets what an app says on a channel in a language, from the next request on.
 * @returns undefined when there is no such app; `full` when it has {@link maxTemplates}
 */
export function putTemplate(
  db: Database,
  place: Place,
  { text, subject = null, html = null, keyPrompt = null }: Template,
): Promise<TemplateView | 'full' | undefined> {
  const { appId, channel, locale, actor } = place
  return db.transaction(async (tx) => {
    const revision = await nextRevision(tx, appId)
    if (revision === undefined) return undefined
    const put = await tx.one(
      putStatement({ appId, channel, locale, revision, text, subject, html, keyPrompt }),
    )
    if (!put) return 'full'
    const detail = { channel, locale, revision }
    await tx.many(auditAdmin({ appId, type: 'template_changed', actor, detail }))
    return put
  })
}

/**
 * Takes an app's words back; live requests keep them.
 * @returns whether there were any
 */
export function deleteTemplate(
  db: Database,
  { appId, channel, locale, actor }: Place,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const revision = await nextRevision(tx, appId)
    if (revision === undefined) return false
    const deleted = await tx.one(takeBackStatement({ appId, channel, locale, revision }))
    if (!deleted) return false
    const detail = { channel, locale, revision }
    await tx.many(auditAdmin({ appId, type: 'template_deleted', actor, detail }))
    return true
  })
}

const revisionStatement = statement(
  'take_template_revision',
  z.strictObject({ revision: z.int() }),
  (p: Named<{ appId: string }>) => sql`
    update apps set template_revision = template_revision + 1 where id = ${p.appId}
    returning template_revision as revision`,
)

/** Under the app's row lock, so that changes of one app come one after the other, and each sees the last. */
async function nextRevision(tx: Queries, appId: string): Promise<number | undefined> {
  const row = await tx.one(revisionStatement({ appId }))
  return row?.revision
}
