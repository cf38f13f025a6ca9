import { type SQL, sql } from 'drizzle-orm'
import { keptAs, keptIndex } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { type IndexedValue, seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import { type ListKind, readSealedEntry } from '../abuse/lists'
import { readSealedTestNumber } from '../abuse/test-numbers'
import { bytes, type Job, type Reencrypted, renewAll, rowsOf, texts } from './reencrypt-rows'

interface Row extends Sealed {
  id: string
  appId: string | null
  /** Of an entry of a list. */
  kind: ListKind | null
}

interface Kept {
  kind: Extract<Reencrypted, 'lists' | 'test_numbers'>
  table: SQL
  /** What the row's text is bound to, and what the row is found by once that is open. */
  contextOf: (row: Row) => string
  nameOf: (row: Row, text: string) => string
}

/** Entries of lists under an older key. */
export const listJob = (keyring: Keyring, underOlder: SQL): Job =>
  keptJob(keyring, underOlder, {
    kind: 'lists',
    table: sql`list_entries`,
    contextOf: ({ id }) => sealedIn.listEntry(id),
    nameOf: ({ appId, kind }, text) =>
      keptAs.listEntry(appId, kind ?? '', readSealedEntry(text).value),
  })

/** Test numbers under an older key. */
export const testNumberJob = (keyring: Keyring, underOlder: SQL): Job =>
  keptJob(keyring, underOlder, {
    kind: 'test_numbers',
    table: sql`test_numbers`,
    contextOf: ({ id, appId }) => sealedIn.testNumber(appId ?? '', id),
    nameOf: ({ appId }, text) =>
      keptAs.testNumber(appId ?? '', readSealedTestNumber(text).phoneNumber),
  })

function keptJob(keyring: Keyring, condition: SQL, { kind, table, ...of }: Kept): Job {
  const renew = (row: Row): { row: Row; sealed: Sealed; indexed: IndexedValue } => {
    const text = unseal(keyring, row, of.contextOf(row))
    const sealed = seal(keyring, text, of.contextOf(row))
    return { row, sealed, indexed: keptIndex(keyring, of.nameOf(row, text)) }
  }
  const kindColumn = kind === 'lists' ? sql`kind` : sql`null::text as kind`
  return {
    kind,
    table,
    condition,
    async move(tx, page) {
      const rows = await tx.many<Row>(sql`
        select id, app_id as "appId", ${kindColumn}, ciphertext, kid from ${table}
        where ${condition} and id > ${page.after} order by id limit ${page.batch} for update skip locked`)
      const { renewed, stuck } = renewAll(rows, renew)
      const moved = await tx.many<{ id: string }>(sql`
        update ${table} e set ciphertext = n.ciphertext, kid = n.kid, index = n.index, index_kid = n.index_kid
        from ${rowsOf({
          id: texts(renewed.map(({ row }) => row.id)),
          ciphertext: bytes(renewed.map(({ sealed }) => sealed.ciphertext)),
          kid: texts(renewed.map(({ sealed }) => sealed.kid)),
          index: bytes(renewed.map(({ indexed }) => indexed.index)),
          index_kid: texts(renewed.map(({ indexed }) => indexed.kid)),
        })}
        where e.id = n.id
          -- One value in two rows cannot be, but if it were, the others must still move.
          and not exists (select from ${table} twin where twin.index = n.index and twin.id <> e.id)
        returning e.id`)
      const ids = new Set(moved.map(({ id }) => id))
      const twins = renewed.filter(({ row }) => !ids.has(row.id))
      return {
        last: rows.at(-1)?.id,
        moved: moved.length,
        stuck: [...stuck, ...twins.map(({ row }) => ({ id: row.id, why: 'twin' as const }))],
      }
    },
  }
}
