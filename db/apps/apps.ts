import { and, asc, eq, gt, or, sql } from 'drizzle-orm'
import type { Alphabet } from '../../core/verify/alphabet'
import type { Channel } from '../../core/channel'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '../index'
import { apps } from '../schema/apps'
import { columns, type Named, query, varying } from '../statement'

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

const settings = {
  name: apps.name,
  brand: apps.brand,
  defaultCountry: apps.defaultCountry,
  maxExpirySeconds: apps.maxExpirySeconds,
  highRiskExpirySeconds: apps.highRiskExpirySeconds,
  codeLength: apps.codeLength,
  codeAlphabet: apps.codeAlphabet,
  queueWhenDown: apps.queueWhenDown,
  consentRequired: apps.consentRequired,
  lengthenUnderGuessing: apps.lengthenUnderGuessing,
  region: apps.region,
  autofillDomain: apps.autofillDomain,
  androidAppHash: apps.androidAppHash,
  pageChannels: apps.pageChannels,
} satisfies Record<keyof AppSettings, unknown>

const fields = Object.keys(settings) as (keyof AppSettings)[]
const view = columns({ id: apps.id, ...settings, createdAt: apps.createdAt })

/** The settings that were given, in the order of their columns. */
const given = (changes: Partial<AppSettings>) =>
  fields.filter((field) => changes[field] !== undefined)

/** An app's settings are no personal data: the trail says what they were set to. */
const detailOf = (changes: Partial<AppSettings>) =>
  Object.fromEntries(
    given(changes).map((field) => {
      const value = changes[field]
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
  { id, ...wanted }: Partial<AppSettings> & { id: string; name: string },
  actor = 'cli',
): Promise<AppView | undefined> {
  const all = { ...wanted, brand: wanted.brand ?? wanted.name }
  return db.transaction(async (tx) => {
    const created = await tx.one(
      varying('create_app', (qb) =>
        qb
          .insert(apps)
          .values({ id, ...all })
          .onConflictDoNothing({ target: apps.id })
          .returning(view),
      ),
    )
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
  if (given(changes).length === 0) return findApp(db, id)
  return db.transaction(async (tx) => {
    const changed = await tx.one(
      varying('change_app', (qb) =>
        qb.update(apps).set(changes).where(eq(apps.id, id)).returning(view),
      ),
    )
    const detail = detailOf(changes)
    if (changed) await tx.many(auditAdmin({ appId: id, type: 'app_changed', actor, detail }))
    return changed
  })
}

const findStatement = query('find_app', (p: Named<{ id: string }>, qb) =>
  qb.select(view).from(apps).where(eq(apps.id, p.id)),
)

export const findApp = (db: Queries, id: string): Promise<AppView | undefined> =>
  db.one(findStatement({ id }))

const listStatement = query(
  'list_apps',
  (p: Named<{ only: string | null; after: string; limit: number }>, qb) =>
    qb
      .select(view)
      .from(apps)
      .where(and(gt(apps.id, p.after), or(sql`${p.only}::text is null`, eq(apps.id, p.only))))
      .orderBy(asc(apps.id))
      .limit(sql.placeholder('limit')),
)

/** Apps by id, after the one named. */
export const listApps = (
  db: Queries,
  {
    only,
    after = '',
    limit,
  }: { only?: string | undefined; after?: string | undefined; limit: number },
): Promise<AppView[]> => db.many(listStatement({ only: only ?? null, after, limit }))
