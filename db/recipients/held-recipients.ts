import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { appIndexes } from '../../codes/seal'
import type { RecipientKind } from '../../core/channel'
import { spellingsOf } from '../../core/recipients/subscriber'
import type { Queries } from '../index'
import { isServedIn, type Place } from '../requests/region'
import { IdRow, type Named, statement } from '../statement'

/** An address as one app knows it, or as every app does. */
export interface Addressee {
  kind: RecipientKind
  value: string
  /** Other spellings of the same subscriber's number. */
  spellings?: readonly string[] | undefined
  /** Undefined: in every app. */
  appId?: string | undefined
  /** Where every app means those that this process serves. */
  servedBy?: Place | undefined
}

/** What else an address is written as: a number in today's plan and in older ones. */
export const spellingsOfAddress = ({
  kind,
  value,
}: Pick<Addressee, 'kind' | 'value'>): readonly [string, ...string[]] =>
  kind === 'phone' ? [value, ...spellingsOf(value).filter((each) => each !== value)] : [value]

const HeldRow = z.strictObject({ id: z.string(), appId: z.string() })
export type HeldRecipient = z.infer<typeof HeldRow>

interface Known {
  kind: RecipientKind
  /** As many as there are indexes. */
  owners: string[]
  indexes: Buffer[]
}

const ofKnown = (
  p: Named<Known>,
): SQL => sql`unnest(${p.owners}::text[], ${p.indexes}::bytea[]) as known (app_id, index)
  join recipients r on r.app_id = known.app_id and r.kind = ${p.kind} and r.index = known.index`

// Found by their indexes, held by their ids: after a wait the condition is put to the row as it has become, and one
// that was given its index by a newer key meanwhile would no longer fit the old one.
const holdStatement = statement(
  'hold_recipients',
  HeldRow,
  (p: Named<Known>) => sql`
  select id, app_id as "appId" from recipients
  where erased_at is null and id = any(array(select r.id from ${ofKnown(p)}))
  order by id for update`,
)

const knownStatement = statement(
  'is_known_anywhere',
  IdRow,
  (p: Named<Known>) => sql`select r.id from ${ofKnown(p)} where r.erased_at is null limit 1`,
)

/** An address under each of its spellings, as these apps may know it. */
const knownBy = (
  keyring: Keyring,
  apps: readonly string[],
  { kind, value, spellings = [] }: Pick<Addressee, 'kind' | 'value' | 'spellings'>,
): Known => {
  const values = [...new Set([value, ...spellings])]
  const known = apps.flatMap((appId) =>
    values.flatMap((each) =>
      appIndexes(keyring, { appId, kind, value: each }).map(({ index }) => ({ appId, index })),
    ),
  )
  return { kind, owners: known.map(({ appId }) => appId), indexes: known.map(({ index }) => index) }
}

/**
 * The rows of an address, held until the transaction ends: sends to it wait, and then look it up anew. In the order of
 * their ids, so that two who hold the same cannot wait for each other.
 */
export async function holdRecipients(
  tx: Queries,
  keyring: Keyring,
  { appId, servedBy, ...address }: Addressee,
): Promise<HeldRecipient[]> {
  const apps = appId === undefined ? await allApps(tx, servedBy) : [appId]
  return tx.many(holdStatement(knownBy(keyring, apps, address)))
}

const appsStatement = statement('list_app_ids', IdRow, () => sql`select id from apps`)

const servedAppsStatement = statement(
  'list_served_app_ids',
  IdRow,
  (p: Named<{ region: string | null }>) => sql`select id from apps where ${isServedIn(p.region)}`,
)

/** Every app, or those that a place serves. */
export const allApps = async (tx: Queries, servedBy: Place | undefined): Promise<string[]> => {
  const rows = await tx.many(
    servedBy ? servedAppsStatement({ region: servedBy.region ?? null }) : appsStatement({}),
  )
  return rows.map(({ id }) => id)
}

/** Whether any app still knows an address, those of other regions included. */
export async function isKnownAnywhere(
  tx: Queries,
  keyring: Keyring,
  address: Pick<Addressee, 'kind' | 'value' | 'spellings'>,
): Promise<boolean> {
  const apps = await allApps(tx, undefined)
  return (await tx.one(knownStatement(knownBy(keyring, apps, address)))) !== undefined
}

const holdOthers = statement(
  'hold_other_spellings',
  IdRow,
  (p: Named<{ appId: string; kind: RecipientKind; indexes: Buffer[] }>) => sql`
  select id from recipients
  where app_id = ${p.appId} and kind = ${p.kind} and index = any(${p.indexes}::bytea[]) and erased_at is null
  order by id for key share`,
)

/**
 * What else one app knows a number's subscriber by: the rows of its other spellings, held as a send holds its own. Before
 * that one, so that a withdrawal, which holds all of them in the order of their ids, waits for the send or the send for it.
 */
export async function holdOtherSpellings(
  tx: Queries,
  keyring: Keyring,
  { appId, kind, value }: Pick<Addressee, 'kind' | 'value'> & { appId: string },
): Promise<string[]> {
  const spellings = spellingsOfAddress({ kind, value })
  if (spellings.length < 2) return []
  const indexes = spellings.flatMap((each) =>
    appIndexes(keyring, { appId, kind, value: each }).map(({ index }) => index),
  )
  const rows = await tx.many(holdOthers({ appId, kind, indexes }))
  return rows.map(({ id }) => id)
}
