import { type SQL, sql } from 'drizzle-orm'
import type { Alphabet } from '../../core/alphabet'
import type { Channel } from '../../core/channel'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '../index'

/** What an app may change about itself. */
export interface AppSettings {
  name: string
  brand: string
  /** Two letters, or null. */
  defaultCountry: string | null
  /** Lifetimes of codes, in seconds. */
  maxExpirySeconds: number
  highRiskExpirySeconds: number
  codeLength: number
  codeAlphabet: Alphabet
  queueWhenDown: boolean
  consentRequired: boolean
  lengthenUnderGuessing: boolean
  /** Only processes of this region serve the app; null: any. */
  region: string | null
  /** Host of the web site that may read codes out of SMS, and the hash of the Android app that may; null: none. */
  autofillDomain: string | null
  androidAppHash: string | null
  /** Channels that a send with a publishable key may name; null: all. */
  pageChannels: Channel[] | null
}

/** A tenant, as far as a call needs it. */
export interface App extends AppSettings {
  id: string
}

export interface AppView extends App {
  createdAt: Date
}

const columnOf = {
  name: sql`name`,
  brand: sql`brand`,
  defaultCountry: sql`default_country`,
  maxExpirySeconds: sql`max_expiry_seconds`,
  highRiskExpirySeconds: sql`high_risk_expiry_seconds`,
  codeLength: sql`code_length`,
  codeAlphabet: sql`code_alphabet`,
  queueWhenDown: sql`queue_when_down`,
  consentRequired: sql`consent_required`,
  lengthenUnderGuessing: sql`lengthen_under_guessing`,
  region: sql`region`,
  autofillDomain: sql`autofill_domain`,
  androidAppHash: sql`android_app_hash`,
  pageChannels: sql`page_channels`,
} satisfies Record<keyof AppSettings, SQL>

const fields = Object.keys(columnOf) as (keyof AppSettings)[]
const view = sql.join(
  [
    sql`id`,
    ...fields.map((field) => sql`${columnOf[field]} as ${sql.identifier(field)}`),
    sql`created_at as "createdAt"`,
  ],
  sql`, `,
)

/** The settings that were given, in the order of their columns. */
const given = (settings: Partial<AppSettings>) =>
  fields.filter((field) => settings[field] !== undefined)

/** An app's settings are no personal data: the trail says what they were set to. */
const detailOf = (settings: Partial<AppSettings>) =>
  Object.fromEntries(
    given(settings).map((field) => {
      const value = settings[field]
      return [field, Array.isArray(value) ? value.join(',') : value]
    }),
  )

/**
 * Adds an app; settings that are not given have the defaults of the table.
 * @param actor who does it, for the audit trail: `key:<id>` or `cli`
 * @returns undefined when there is one of this id, which stays as it is
 */
export function createApp(
  db: Database,
  { id, ...settings }: Partial<AppSettings> & { id: string; name: string },
  actor = 'cli',
): Promise<AppView | undefined> {
  const all = { ...settings, brand: settings.brand ?? settings.name }
  const set = given(all)
  return db.transaction(async (tx) => {
    const created = await tx.one<AppView>(sql`
      insert into apps (id, ${sql.join(
        set.map((field) => columnOf[field]),
        sql`, `,
      )}) values (${id}, ${sql.join(
        set.map((field) => sql`${sql.param(all[field])}`),
        sql`, `,
      )}) on conflict (id) do nothing returning ${view}`)
    const detail = detailOf(all)
    if (created) await tx.many(auditAdmin({ appId: id, type: 'app_created', actor, detail }))
    return created
  })
}

/**
 * Changes the settings that are given, from the next look-up of the app on.
 * @param actor as of {@link createApp}
 * @returns undefined when there is no such app
 */
export function changeApp(
  db: Database,
  id: string,
  changes: Partial<AppSettings>,
  actor = 'cli',
): Promise<AppView | undefined> {
  const set = given(changes)
  if (set.length === 0) return findApp(db, id)
  const assignments = set.map((field) => sql`${columnOf[field]} = ${sql.param(changes[field])}`)
  return db.transaction(async (tx) => {
    const changed = await tx.one<AppView>(sql`
      update apps set ${sql.join(assignments, sql`, `)} where id = ${id} returning ${view}`)
    const detail = detailOf(changes)
    if (changed) await tx.many(auditAdmin({ appId: id, type: 'app_changed', actor, detail }))
    return changed
  })
}

export const findApp = (db: Queries, id: string): Promise<AppView | undefined> =>
  db.one<AppView>(sql`select ${view} from apps where id = ${id}`)

/** Apps by id, after the one named. */
export const listApps = (
  db: Queries,
  {
    only,
    after = '',
    limit,
  }: { only?: string | undefined; after?: string | undefined; limit: number },
): Promise<AppView[]> =>
  db.many<AppView>(sql`select ${view} from apps
    where id > ${after} and (${only ?? null}::text is null or id = ${only ?? null})
    order by id limit ${limit}`)
