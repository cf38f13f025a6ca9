import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { keptAs, keptIndex, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import {
  type ListKind,
  listKinds,
  type ListVerdict,
  listVerdicts,
  recipientValues,
} from '../../core/protection/lists'
import { auditAdmin } from '../audit/entry'
import { holdDigests } from '../hold'
import type { Database, Queries } from '..'
import { isOf, type Place, type RowOwner, rowOwner } from '../requests/region'
import { type Named, NoRow, statement } from '../statement'

export type { ListKind } from '../../core/protection/lists'

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

const Row = z.strictObject({
  id: z.string(),
  appId: z.string().nullable(),
  verdict: z.enum(listVerdicts),
  kind: z.enum(listKinds),
  ciphertext: z.instanceof(Buffer),
  kid: z.string(),
  expiresAt: z.date().nullable(),
  createdAt: z.date(),
})

/** What the row of an entry keeps encrypted. */
export const readSealedEntry = (text: string) =>
  JSON.parse(text) as Pick<ListEntry, 'value' | 'note'>

const entryOf = (
  keyring: Keyring,
  { ciphertext, kid, ...row }: z.infer<typeof Row>,
): ListEntry => ({
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

const columns = sql`id, app_id as "appId", verdict, kind, ciphertext, kid, expires_at as "expiresAt",
  created_at as "createdAt"`

const deleteStatement = statement(
  'delete_list_entry',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from list_entries where index = any(${p.digests}::bytea[])`,
)

interface NewRow extends Sealed, Pick<ListEntry, 'id' | 'appId' | 'verdict' | 'kind'> {
  length: number
  index: Buffer
  indexKid: string
  expiresAt: Date | null
}

const addStatement = statement(
  'add_list_entry',
  Row,
  (p: Named<NewRow>) => sql`
      insert into list_entries (id, app_id, verdict, kind, length, index, index_kid, ciphertext, kid, expires_at)
      select ${p.id}, ${p.appId}, ${p.verdict}, ${p.kind}, ${p.length}::smallint, ${p.index}::bytea, ${p.indexKid},
        ${p.ciphertext}::bytea, ${p.kid}, ${p.expiresAt}::timestamptz
      where (select count(*) from list_entries where app_id = ${p.appId})
        + case when ${p.appId}::text is null then (select count(*) from list_entries where app_id is null) else 0 end < ${maxListEntries}
      returning ${columns}`,
)

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
    await tx.many(deleteStatement({ digests }))
    const row = await tx.one(
      addStatement({
        ...{ id, appId, verdict, kind, length, index, indexKid, ciphertext, kid },
        expiresAt: expiresAt ?? null,
      }),
    )
    if (!row) return 'full'
    const detail = { change: 'added', entry: id, verdict, kind }
    await tx.many(auditAdmin({ appId, type: 'list_changed', actor, detail }))
    return entryOf(keyring, row)
  })
}

const isInForce = sql`(expires_at is null or expires_at > now())`

const listOfApp = statement(
  'list_entries_of_app',
  Row,
  (p: Named<{ appId: string; after: string; limit: number }>) => sql`
    select ${columns} from list_entries where app_id = ${p.appId} and ${isInForce} and id > ${p.after}
    order by id limit ${p.limit}`,
)

const listOfOperators = statement(
  'list_entries_of_operators',
  Row,
  (p: Named<{ after: string; limit: number }>) => sql`
    select ${columns} from list_entries where app_id is null and ${isInForce} and id > ${p.after}
    order by id limit ${p.limit}`,
)

/** Those in force, by their ids. */
export async function readListEntries(
  db: Queries,
  keyring: Keyring,
  { appId, after = '', limit }: { appId: string | null; after?: string | undefined; limit: number },
): Promise<ListEntry[]> {
  const rows = await db.many(
    appId === null ? listOfOperators({ after, limit }) : listOfApp({ appId, after, limit }),
  )
  return rows.map((row) => entryOf(keyring, row))
}

const removeStatement = statement(
  'remove_list_entry',
  z.strictObject({
    appId: z.string().nullable(),
    verdict: z.enum(listVerdicts),
    kind: z.enum(listKinds),
  }),
  (p: Named<RowOwner & { id: string }>) => sql`
  delete from list_entries where id = ${p.id} and ${isOf(sql`list_entries`, p)}
  returning app_id as "appId", verdict, kind`,
)

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
    const gone = await tx.one(removeStatement({ id, ...rowOwner(appId, servedBy) }))
    if (!gone) return false
    const { appId: owner, verdict, kind } = gone
    const detail = { change: 'removed', entry: id, verdict, kind }
    await tx.many(auditAdmin({ appId: owner, type: 'list_changed', actor, detail }))
    return true
  })
}
