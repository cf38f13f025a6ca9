import { setTimeout as pause } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import type { Database, Queries } from '../index'
import { hasSealedText } from './key-use'
import { listJob, recipientJob, testNumberJob } from './reencrypt-indexed'
import {
  bytes,
  type Job,
  type Reencrypted,
  renewAll,
  rowsOf,
  type Stuck,
  texts,
} from './reencrypt-rows'

/** How long a round that found every remaining row taken by others waits for the next, and how often. */
const idlePauseMs = 200
const maxIdleRounds = 50

export interface ReencryptOptions {
  /** Rows a transaction moves: what it holds, sends to these recipients wait for. */
  batch: number
  /** Told after each batch how many rows of a kind it moved. */
  onMoved?: (kind: Reencrypted, count: number) => void
}

export interface ReencryptResult {
  moved: number
  stuck: Stuck[]
  /** Rows under older keys that are left: stuck ones, or such as others held all the time. */
  left: number
}

/**
 * Moves what is stored under older phone and index keys to the active ones, in batches that commit one by one: it may
 * be killed, run again, and run twice beside live traffic. Rows that somebody holds are passed over, and met again.
 */
export async function reencrypt(
  db: Database,
  keyring: Keyring,
  options: ReencryptOptions,
): Promise<ReencryptResult> {
  const result: ReencryptResult = { moved: 0, stuck: [], left: 0 }
  for (let idle = 0; idle < maxIdleRounds;) {
    const jobs = jobsOf(keyring)
    const stuck: Stuck[] = []
    let moved = 0
    for (const job of jobs) moved += await runJob(db, job, { ...options, stuck })
    result.moved += moved
    result.stuck = stuck
    result.left = await countLeft(db, jobs)
    if (result.left <= stuck.length) return result
    idle = moved > 0 ? 0 : idle + 1
    if (moved === 0) await pause(idlePauseMs)
  }
  return result
}

const jobsOf = (keyring: Keyring): Job[] => [
  ...older(keyring, 'phones').flatMap((kid) => [
    recipientJob(keyring, sql`kid = ${kid}`),
    requestJob(keyring, kid),
    secretsJob(keyring, kid, endpoints),
    secretsJob(keyring, kid, hooks),
    listJob(keyring, sql`kid = ${kid}`),
    testNumberJob(keyring, sql`kid = ${kid}`),
  ]),
  ...older(keyring, 'app_index').flatMap((kid) => [
    recipientJob(keyring, sql`index_kid = ${kid}`),
    listJob(keyring, sql`index_kid = ${kid}`),
    testNumberJob(keyring, sql`index_kid = ${kid}`),
  ]),
]

const older = (keyring: Keyring, purpose: 'phones' | 'app_index'): string[] =>
  keyring
    .all(purpose)
    .slice(1)
    .map(({ kid }) => kid)

async function runJob(
  db: Database,
  job: Job,
  { batch, onMoved, stuck }: ReencryptOptions & { stuck: Stuck[] },
): Promise<number> {
  let sum = 0
  for (let after = ''; ;) {
    const page = { after, batch }
    const done = await db.transaction((tx) => job.move(tx, page))
    if (done.last === undefined) return sum
    after = done.last
    sum += done.moved
    stuck.push(...done.stuck.map((row) => ({ kind: job.kind, ...row })))
    if (done.moved > 0) onMoved?.(job.kind, done.moved)
  }
}

async function countLeft(db: Queries, jobs: readonly Job[]): Promise<number> {
  let sum = 0
  for (const { table, condition } of jobs) {
    const row = await db.one<{ count: number }>(
      sql`select count(*)::int as count from (select from ${table} where ${condition} limit 1000) found`,
    )
    sum += row?.count ?? 0
  }
  return sum
}

interface RequestRow {
  id: string
  kid: string
  message: Buffer | null
  metadata: Buffer | null
}

function requestJob(keyring: Keyring, kid: string): Job {
  const table = sql`otp_requests`
  const condition = sql`seal_kid = ${kid} and ${hasSealedText}`
  const renew = (row: RequestRow) => {
    const message = reseal(keyring, row.message, kid, sealedIn.message(row.id))
    const metadata = reseal(keyring, row.metadata, kid, sealedIn.metadata(row.id))
    return { row, message, metadata, kid: message?.kid ?? metadata?.kid ?? kid }
  }
  return {
    kind: 'requests',
    table,
    condition,
    async move(tx, page) {
      const rows = await tx.many<RequestRow>(sql`
        select id, seal_kid as kid, message_ciphertext as message, metadata_ciphertext as metadata from ${table}
        where ${condition} and id > ${page.after}
        order by id limit ${page.batch} for no key update skip locked`)
      const { renewed, stuck } = renewAll(rows, renew)
      const moved = await tx.many(sql`
        update otp_requests r set message_ciphertext = n.message, metadata_ciphertext = n.metadata, seal_kid = n.kid
        from ${rowsOf({
          id: texts(renewed.map(({ row }) => row.id)),
          message: bytes(renewed.map(({ message }) => message?.ciphertext ?? null)),
          metadata: bytes(renewed.map(({ metadata }) => metadata?.ciphertext ?? null)),
          kid: texts(renewed.map((row) => row.kid)),
        })}
        where r.id = n.id and r.seal_kid = ${kid} returning 1`)
      return { last: rows.at(-1)?.id, moved: moved.length, stuck }
    },
  }
}

interface SecretRow {
  id: string
  appId: string
  secret: Buffer
  kid: string
  previous: Buffer | null
  previousKid: string | null
}

/** A table with a secret that signs, and the one before it. */
interface SecretTable {
  kind: Reencrypted
  table: SQL
  id: SQL
  contextOf: (row: SecretRow) => string
}

const endpoints: SecretTable = {
  kind: 'endpoints',
  table: sql`event_endpoints`,
  id: sql`id`,
  contextOf: ({ appId, id }) => sealedIn.endpointSecret(appId, id),
}

const hooks: SecretTable = {
  kind: 'hooks',
  table: sql`pre_send_hooks`,
  id: sql`app_id`,
  contextOf: ({ appId }) => sealedIn.hookSecret(appId),
}

function secretsJob(
  keyring: Keyring,
  kid: string,
  { kind, table, id, contextOf }: SecretTable,
): Job {
  const condition = sql`(secret_kid = ${kid} or previous_secret_kid = ${kid})`
  const renew = (row: SecretRow) => {
    const context = contextOf(row)
    const previous = reseal(keyring, row.previous, row.previousKid ?? kid, context)
    return { row, secret: reseal(keyring, row.secret, row.kid, context), previous }
  }
  return {
    kind,
    table,
    condition,
    async move(tx, page) {
      const rows = await tx.many<SecretRow>(sql`
        select ${id} as id, app_id as "appId", secret_ciphertext as secret, secret_kid as kid,
          previous_secret_ciphertext as previous, previous_secret_kid as "previousKid" from ${table}
        where ${condition} and ${id} > ${page.after}
        order by ${id} limit ${page.batch} for no key update skip locked`)
      const { renewed, stuck } = renewAll(rows, renew)
      const moved = await tx.many(sql`
        update ${table} e set secret_ciphertext = n.secret, secret_kid = n.kid,
          previous_secret_ciphertext = n.previous, previous_secret_kid = n.previous_kid
        from ${rowsOf({
          id: texts(renewed.map(({ row }) => row.id)),
          old_kid: texts(renewed.map(({ row }) => row.kid)),
          secret: bytes(renewed.map(({ secret }) => secret?.ciphertext ?? null)),
          kid: texts(renewed.map(({ secret }) => secret?.kid ?? null)),
          previous: bytes(renewed.map(({ previous }) => previous?.ciphertext ?? null)),
          previous_kid: texts(renewed.map(({ previous }) => previous?.kid ?? null)),
        })}
        where e.${id} = n.id and e.secret_kid = n.old_kid returning 1`)
      return { last: rows.at(-1)?.id, moved: moved.length, stuck }
    },
  }
}

const reseal = (
  keyring: Keyring,
  ciphertext: Buffer | null,
  kid: string,
  context: string,
): Sealed | null =>
  ciphertext && seal(keyring, unseal(keyring, { ciphertext, kid }, context), context)
