import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { keptAs, keptIndex } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { appIndex, type IndexedValue, seal, sealedIn, unseal } from '../../codes/seal'
import { readSealedEntry } from '../protection/lists'
import { readSealedTestNumber } from '../protection/test-numbers'
import { hasAddress } from './key-use'
import { IdRow, type Named, statement } from '../statement'
import { counting, type Job, type PageParams, renewAll } from './reencrypt-rows'

const Row = z.strictObject({
  id: z.string(),
  appId: z.string(),
  kind: z.string(),
  ciphertext: z.instanceof(Buffer),
  kid: z.string(),
  indexKid: z.string(),
})
type Row = z.infer<typeof Row>

/** The column that names the older key: that of the sealed text, or that of the index. */
export type KidColumn = 'kid' | 'index_kid'

interface MovedColumns {
  ids: string[]
  oldKids: string[]
  oldIndexKids: string[]
  ciphertexts: Buffer[]
  kids: string[]
  indexes: Buffer[]
  indexKids: string[]
}

/** The statements that move a table's rows which are under an older key in one column. */
function statementsOf(
  by: KidColumn,
  table: string,
  { kindColumn = sql`''`, sharedByTwins = sql``, also = sql`true` }: TableParts,
) {
  const from = sql.identifier(table)
  const name = `${table}_by_${by}`
  const isOlder = (p: Named<{ olderKid: string }>) =>
    sql`${sql.identifier(by)} = ${p.olderKid} and ${also}`
  return {
    count: counting(`count_${name}`, sql`${from}`, isOlder),
    hold: statement(
      `hold_${name}`,
      Row,
      (p: Named<PageParams>) => sql`
        select id, coalesce(app_id, '') as "appId", ${kindColumn} as kind, ciphertext, kid, index_kid as "indexKid"
        from ${from} where ${isOlder(p)} and id > ${p.after} order by id limit ${p.batch} for update skip locked`,
    ),
    move: statement(
      `move_${name}`,
      IdRow,
      (p: Named<MovedColumns>) => sql`
        update ${from} e set ciphertext = n.ciphertext, kid = n.kid, index = n.index, index_kid = n.index_kid
        from unnest(${p.ids}::text[], ${p.oldKids}::text[], ${p.oldIndexKids}::text[], ${p.ciphertexts}::bytea[],
          ${p.kids}::text[], ${p.indexes}::bytea[], ${p.indexKids}::text[])
          as n(id, old_kid, old_index_kid, ciphertext, kid, index, index_kid)
        where e.id = n.id and e.kid = n.old_kid and e.index_kid = n.old_index_kid
          -- One value in two rows cannot be, but if it were, the others must still move.
          and not exists (select from ${from} twin where twin.index = n.index and twin.id <> e.id ${sharedByTwins})
        returning e.id`,
    ),
  }
}

interface TableParts {
  /** The column that says what the text is, where there is one. */
  kindColumn?: SQL
  /** What a twin shares with its row `e`, beside the index. */
  sharedByTwins?: SQL
  /** What else a row must be to need a key. */
  also?: SQL
}

const bothWays = (table: string, parts: TableParts = {}) => ({
  kid: statementsOf('kid', table, parts),
  index_kid: statementsOf('index_kid', table, parts),
})

const recipients = bothWays('recipients', {
  kindColumn: sql`kind`,
  sharedByTwins: sql`and twin.app_id = e.app_id and twin.kind = e.kind`,
  also: hasAddress,
})
const lists = bothWays('list_entries', { kindColumn: sql`kind` })
const testNumbers = bothWays('test_numbers')

/** A table whose rows hold a sealed text and are found by an index of it. */
interface Indexed {
  kind: Job['kind']
  statements: ReturnType<typeof statementsOf>
  olderKid: string
  /** What the row's text is bound to, and what the row is found by once that is open. */
  contextOf: (row: Row) => string
  indexOf: (row: Row, text: string) => IndexedValue
}

/** Recipients under an older key. */
export const recipientJob = (keyring: Keyring, by: KidColumn, olderKid: string): Job =>
  indexedJob(keyring, {
    kind: 'recipients',
    statements: recipients[by],
    olderKid,
    contextOf: ({ appId, id }) => sealedIn.recipient(appId, id),
    indexOf: ({ appId, kind }, value) => appIndex(keyring, { appId, kind, value }),
  })

/** Entries of lists under an older key. */
export const listJob = (keyring: Keyring, by: KidColumn, olderKid: string): Job =>
  indexedJob(keyring, {
    kind: 'lists',
    statements: lists[by],
    olderKid,
    contextOf: ({ id }) => sealedIn.listEntry(id),
    indexOf: ({ appId, kind }, text) =>
      keptIndex(keyring, keptAs.listEntry(appId || null, kind, readSealedEntry(text).value)),
  })

/** Test numbers under an older key. */
export const testNumberJob = (keyring: Keyring, by: KidColumn, olderKid: string): Job =>
  indexedJob(keyring, {
    kind: 'test_numbers',
    statements: testNumbers[by],
    olderKid,
    contextOf: ({ id, appId }) => sealedIn.testNumber(appId, id),
    indexOf: ({ appId }, text) =>
      keptIndex(keyring, keptAs.testNumber(appId, readSealedTestNumber(text).phoneNumber)),
  })

function indexedJob(
  keyring: Keyring,
  { kind, statements, olderKid, contextOf, indexOf }: Indexed,
): Job {
  const renew = (row: Row) => {
    const text = unseal(keyring, row, contextOf(row))
    return { row, sealed: seal(keyring, text, contextOf(row)), ...indexOf(row, text) }
  }
  return {
    kind,
    count: async (db) => (await db.one(statements.count({ olderKid })))?.count ?? 0,
    async move(tx, page) {
      const rows = await tx.many(statements.hold({ ...page, olderKid }))
      const { renewed, stuck } = renewAll(rows, renew)
      const moved = await tx.many(
        statements.move({
          ids: renewed.map(({ row }) => row.id),
          oldKids: renewed.map(({ row }) => row.kid),
          oldIndexKids: renewed.map(({ row }) => row.indexKid),
          ciphertexts: renewed.map(({ sealed }) => sealed.ciphertext),
          kids: renewed.map(({ sealed }) => sealed.kid),
          indexes: renewed.map(({ index }) => index),
          indexKids: renewed.map(({ kid }) => kid),
        }),
      )
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
