import { type SQL, sql } from 'drizzle-orm'
import { keptAs, keptIndex } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { appIndex, type IndexedValue, seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import { readSealedEntry } from '../abuse/lists'
import { readSealedTestNumber } from '../abuse/test-numbers'
import { hasAddress } from './key-use'
import { bytes, type Job, renewAll, rowsOf, texts } from './reencrypt-rows'

interface Row extends Sealed {
  id: string
  appId: string
  kind: string
  indexKid: string
}

/** A table whose rows hold a sealed text and are found by an index of it. */
interface Indexed {
  kind: Job['kind']
  table: SQL
  /** The column that says what the text is, where there is one. */
  kindColumn?: SQL
  /** What the row's text is bound to, and what the row is found by once that is open. */
  contextOf: (row: Row) => string
  indexOf: (row: Row, text: string) => IndexedValue
  /** What a twin shares with its row `e`, beside the index. */
  sharedByTwins?: SQL
}

/** Recipients under an older key. */
export const recipientJob = (keyring: Keyring, underOlder: SQL): Job =>
  indexedJob(keyring, sql`${underOlder} and ${hasAddress}`, {
    kind: 'recipients',
    table: sql`recipients`,
    kindColumn: sql`kind`,
    contextOf: ({ appId, id }) => sealedIn.recipient(appId, id),
    indexOf: ({ appId, kind }, value) => appIndex(keyring, { appId, kind, value }),
    sharedByTwins: sql`and twin.app_id = e.app_id and twin.kind = e.kind`,
  })

/** Entries of lists under an older key. */
export const listJob = (keyring: Keyring, underOlder: SQL): Job =>
  indexedJob(keyring, underOlder, {
    kind: 'lists',
    table: sql`list_entries`,
    kindColumn: sql`kind`,
    contextOf: ({ id }) => sealedIn.listEntry(id),
    indexOf: ({ appId, kind }, text) =>
      keptIndex(keyring, keptAs.listEntry(appId || null, kind, readSealedEntry(text).value)),
  })

/** Test numbers under an older key. */
export const testNumberJob = (keyring: Keyring, underOlder: SQL): Job =>
  indexedJob(keyring, underOlder, {
    kind: 'test_numbers',
    table: sql`test_numbers`,
    contextOf: ({ id, appId }) => sealedIn.testNumber(appId, id),
    indexOf: ({ appId }, text) =>
      keptIndex(keyring, keptAs.testNumber(appId, readSealedTestNumber(text).phoneNumber)),
  })

function indexedJob(keyring: Keyring, condition: SQL, indexed: Indexed): Job {
  const { kind, table, kindColumn = sql`''`, contextOf, indexOf, sharedByTwins } = indexed
  const renew = (row: Row) => {
    const text = unseal(keyring, row, contextOf(row))
    return { row, sealed: seal(keyring, text, contextOf(row)), ...indexOf(row, text) }
  }
  return {
    kind,
    table,
    condition,
    async move(tx, page) {
      const rows = await tx.many<Row>(sql`
        select id, coalesce(app_id, '') as "appId", ${kindColumn} as kind, ciphertext, kid, index_kid as "indexKid"
        from ${table} where ${condition} and id > ${page.after} order by id limit ${page.batch} for update skip locked`)
      const { renewed, stuck } = renewAll(rows, renew)
      const moved = await tx.many<{ id: string }>(sql`
        update ${table} e set ciphertext = n.ciphertext, kid = n.kid, index = n.index, index_kid = n.index_kid
        from ${rowsOf({
          id: texts(renewed.map(({ row }) => row.id)),
          old_kid: texts(renewed.map(({ row }) => row.kid)),
          old_index_kid: texts(renewed.map(({ row }) => row.indexKid)),
          ciphertext: bytes(renewed.map(({ sealed }) => sealed.ciphertext)),
          kid: texts(renewed.map(({ sealed }) => sealed.kid)),
          index: bytes(renewed.map(({ index }) => index)),
          index_kid: texts(renewed.map(({ kid }) => kid)),
        })}
        where e.id = n.id and e.kid = n.old_kid and e.index_kid = n.old_index_kid
          -- One value in two rows cannot be, but if it were, the others must still move.
          and not exists (select from ${table} twin where twin.index = n.index and twin.id <> e.id ${sharedByTwins ?? sql``})
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
