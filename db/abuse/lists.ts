import { type SQL, sql } from 'drizzle-orm'
import { keptAs, keptIndex, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import { type ListKind, type ListVerdict, recipientValues } from '../../core/abuse/lists'
import { auditAdmin } from '../audit/entry'
import { holdDigests } from '../hold'
import type { Database, Queries } from '../index'
import { ofServedApps, type Place } from '../requests/region'

export type { ListKind } from '../../core/abuse/lists'

/** Entries of one app, or of the operators: every one of them costs disk, none costs a send. */
export const maxListEntries = 10_000

/** Whom an entry is about, in the form in which it is compared. */
export interface ListValue {
  kind: ListKind
  value: string
  length: number
}

export interface ListEntry extends Pick<ListValue, 'kind' | 'value'> {
  id: string
  /** Null: of the operators, for every app. */
  appId: string | null
  verdict: ListVerdict
  note: string | null
  expiresAt: Date | null
  createdAt: Date
}

export interface NewListEntry extends ListValue {
  appId: string | null
  verdict: ListVerdict
  note?: string | undefined
  expiresAt?: Date | undefined
  actor: string
}

interface Row extends Omit<ListEntry, 'value' | 'note'>, Sealed {}

const columns = sql`id, app_id as "appId", verdict, kind, ciphertext, kid, expires_at as "expiresAt",
  created_at as "createdAt"`

/** What the row of an entry keeps encrypted. */
export const readSealedEntry = (text: string) =>
  JSON.parse(text) as Pick<ListEntry, 'value' | 'note'>

const entryOf = (keyring: Keyring, { ciphertext, kid, ...row }: Row): ListEntry => ({
  ...row,
  ...readSealedEntry(unseal(keyring, { ciphertext, kid }, sealedIn.listEntry(row.id))),
})

/** What entries about a recipient are found by, of its app's list and of the operators'. */
export const listDigests = (
  keyring: Keyring,
  { appId, ...recipient }: { appId: string } & Parameters<typeof recipientValues>[0],
): Buffer[] =>
  keptIndexes(
    keyring,
    recipientValues(recipient).flatMap(({ kind, value }) =>
      [appId, null].map((owner) => keptAs.listEntry(owner, kind, value)),
    ),
  )

const ofOwner = (appId: string | null): SQL =>
  appId === null ? sql`app_id is null` : sql`app_id = ${appId}`

const isInForce = sql`(expires_at is null or expires_at > now())`

/**
 * Puts an entry on the list of an app, or of the operators; it replaces one about the same.
 * @returns `full` where there are {@link maxListEntries}
 */
export function putListEntry(
  db: Database,
  keyring: Keyring,
  { appId, kind, value, length, verdict, note = '', expiresAt, actor }: NewListEntry,
): Promise<ListEntry | 'full'> {
  const id = randomId('lst')
  const name = keptAs.listEntry(appId, kind, value)
  const digests = keptIndexes(keyring, [name])
  const { index, kid: indexKid } = keptIndex(keyring, name)
  const text = JSON.stringify({ value, note: note === '' ? null : note })
  const { ciphertext, kid } = seal(keyring, text, sealedIn.listEntry(id))
  return db.transaction(async (tx) => {
    await holdDigests(tx, digests)
    await tx.many(sql`delete from list_entries where index in ${digests}`)
    const row = await tx.one<Row>(sql`
      insert into list_entries (id, app_id, verdict, kind, length, index, index_kid, ciphertext, kid, expires_at)
      select ${id}, ${appId}, ${verdict}, ${kind}, ${length}, ${index}, ${indexKid}, ${ciphertext}, ${kid},
        ${expiresAt?.toISOString() ?? null}::timestamptz
      where (select count(*) from list_entries where ${ofOwner(appId)}) < ${maxListEntries}
      returning ${columns}`)
    if (!row) return 'full'
    const detail = { change: 'added', entry: id, verdict, kind }
    await tx.many(auditAdmin({ appId, type: 'list_changed', actor, detail }))
    return entryOf(keyring, row)
  })
}

/** Those in force, by their ids. */
export async function readListEntries(
  db: Queries,
  keyring: Keyring,
  { appId, after = '', limit }: { appId: string | null; after?: string | undefined; limit: number },
): Promise<ListEntry[]> {
  const rows = await db.many<Row>(sql`
    select ${columns} from list_entries where ${ofOwner(appId)} and ${isInForce} and id > ${after}
    order by id limit ${limit}`)
  return rows.map((row) => entryOf(keyring, row))
}

/**
 * Takes an entry off its list.
 * @param entry `appId` undefined: of whichever app that `servedBy` serves, or of the operators
 * @returns whether it was there
 */
export function removeListEntry(
  db: Database,
  {
    id,
    appId,
    servedBy,
    actor,
  }: { id: string; appId: string | undefined; servedBy?: Place | undefined; actor: string },
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const own =
      appId === undefined
        ? servedBy
          ? ofServedApps(sql`list_entries`, servedBy)
          : sql`true`
        : ofOwner(appId)
    const gone = await tx.one<{ appId: string | null; verdict: ListVerdict; kind: ListKind }>(sql`
      delete from list_entries where id = ${id} and ${own} returning app_id as "appId", verdict, kind`)
    if (!gone) return false
    const { appId: owner, verdict, kind } = gone
    const detail = { change: 'removed', entry: id, verdict, kind }
    await tx.many(auditAdmin({ appId: owner, type: 'list_changed', actor, detail }))
    return true
  })
}
