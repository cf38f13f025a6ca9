import { setTimeout as pause } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import type { Database, Queries } from '../index'
import { hasSealedText } from './key-use'
import { listJob, recipientJob, testNumberJob } from './reencrypt-indexed'
import {
  counting,
  type Job,
  type PageParams,
  type Reencrypted,
  renewAll,
  type Stuck,
} from './reencrypt-rows'
import { IdRow, type Named, statement } from '../statement'

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
    recipientJob(keyring, 'kid', kid),
    requestJob(keyring, kid),
    secretsJob(keyring, kid, endpoints),
    secretsJob(keyring, kid, hooks),
    listJob(keyring, 'kid', kid),
    testNumberJob(keyring, 'kid', kid),
  ]),
  ...older(keyring, 'app_index').flatMap((kid) => [
    recipientJob(keyring, 'index_kid', kid),
    listJob(keyring, 'index_kid', kid),
    testNumberJob(keyring, 'index_kid', kid),
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
  for (const job of jobs) sum += await job.count(db)
  return sum
}

const RequestRow = z.strictObject({
  id: z.string(),
  kid: z.string(),
  message: z.instanceof(Buffer).nullable(),
  metadata: z.instanceof(Buffer).nullable(),
})
type RequestRow = z.infer<typeof RequestRow>

const isOlderRequest = (p: Named<{ olderKid: string }>) =>
  sql`seal_kid = ${p.olderKid} and ${hasSealedText}`

const countRequests = counting('count_requests_by_kid', sql`otp_requests`, isOlderRequest)

const holdRequests = statement(
  'hold_requests_by_kid',
  RequestRow,
  (p: Named<PageParams>) => sql`
        select id, seal_kid as kid, message_ciphertext as message, metadata_ciphertext as metadata from otp_requests
        where ${isOlderRequest(p)} and id > ${p.after}
        order by id limit ${p.batch} for no key update skip locked`,
)

interface MovedRequests {
  olderKid: string
  ids: string[]
  messages: (Buffer | null)[]
  metadata: (Buffer | null)[]
  kids: string[]
}

const moveRequests = statement(
  'move_requests_by_kid',
  IdRow,
  (p: Named<MovedRequests>) => sql`
        update otp_requests r set message_ciphertext = n.message, metadata_ciphertext = n.metadata, seal_kid = n.kid
        from unnest(${p.ids}::text[], ${p.messages}::bytea[], ${p.metadata}::bytea[], ${p.kids}::text[])
          as n(id, message, metadata, kid)
        where r.id = n.id and r.seal_kid = ${p.olderKid} returning r.id`,
)

function requestJob(keyring: Keyring, olderKid: string): Job {
  const renew = (row: RequestRow) => {
    const message = reseal(keyring, row.message, olderKid, sealedIn.message(row.id))
    const metadata = reseal(keyring, row.metadata, olderKid, sealedIn.metadata(row.id))
    return { row, message, metadata, kid: message?.kid ?? metadata?.kid ?? olderKid }
  }
  return {
    kind: 'requests',
    count: async (db) => (await db.one(countRequests({ olderKid })))?.count ?? 0,
    async move(tx, page) {
      const rows = await tx.many(holdRequests({ ...page, olderKid }))
      const { renewed, stuck } = renewAll(rows, renew)
      const moved = await tx.many(
        moveRequests({
          olderKid,
          ids: renewed.map(({ row }) => row.id),
          messages: renewed.map(({ message }) => message?.ciphertext ?? null),
          metadata: renewed.map(({ metadata }) => metadata?.ciphertext ?? null),
          kids: renewed.map(({ kid }) => kid),
        }),
      )
      return { last: rows.at(-1)?.id, moved: moved.length, stuck }
    },
  }
}

const SecretRow = z.strictObject({
  id: z.string(),
  appId: z.string(),
  secret: z.instanceof(Buffer),
  kid: z.string(),
  previous: z.instanceof(Buffer).nullable(),
  previousKid: z.string().nullable(),
})
type SecretRow = z.infer<typeof SecretRow>

interface MovedSecrets {
  ids: string[]
  oldKids: string[]
  secrets: (Buffer | null)[]
  kids: (string | null)[]
  previous: (Buffer | null)[]
  previousKids: (string | null)[]
}

/** The statements that move a table's secrets which sign, and the ones before them. */
function secretStatements(table: string, id: SQL) {
  const from = sql.identifier(table)
  const isOlder = (p: Named<{ olderKid: string }>) =>
    sql`(secret_kid = ${p.olderKid} or previous_secret_kid = ${p.olderKid})`
  return {
    count: counting(`count_secrets_of_${table}`, sql`${from}`, isOlder),
    hold: statement(
      `hold_secrets_of_${table}`,
      SecretRow,
      (p: Named<PageParams>) => sql`
        select ${id} as id, app_id as "appId", secret_ciphertext as secret, secret_kid as kid,
          previous_secret_ciphertext as previous, previous_secret_kid as "previousKid" from ${from}
        where ${isOlder(p)} and ${id} > ${p.after}
        order by ${id} limit ${p.batch} for no key update skip locked`,
    ),
    move: statement(
      `move_secrets_of_${table}`,
      IdRow,
      (p: Named<MovedSecrets>) => sql`
        update ${from} e set secret_ciphertext = n.secret, secret_kid = n.kid,
          previous_secret_ciphertext = n.previous, previous_secret_kid = n.previous_kid
        from unnest(${p.ids}::text[], ${p.oldKids}::text[], ${p.secrets}::bytea[], ${p.kids}::text[],
          ${p.previous}::bytea[], ${p.previousKids}::text[]) as n(id, old_kid, secret, kid, previous, previous_kid)
        where e.${id} = n.id and e.secret_kid = n.old_kid returning n.id`,
    ),
  }
}

/** A table with a secret that signs, and the one before it. */
interface SecretTable {
  kind: Reencrypted
  statements: ReturnType<typeof secretStatements>
  contextOf: (row: SecretRow) => string
}

const endpoints: SecretTable = {
  kind: 'endpoints',
  statements: secretStatements('event_endpoints', sql`id`),
  contextOf: ({ appId, id }) => sealedIn.endpointSecret(appId, id),
}

const hooks: SecretTable = {
  kind: 'hooks',
  statements: secretStatements('pre_send_hooks', sql`app_id`),
  contextOf: ({ appId }) => sealedIn.hookSecret(appId),
}

function secretsJob(
  keyring: Keyring,
  olderKid: string,
  { kind, statements, contextOf }: SecretTable,
): Job {
  const renew = (row: SecretRow) => {
    const context = contextOf(row)
    const previous = reseal(keyring, row.previous, row.previousKid ?? olderKid, context)
    return { row, secret: reseal(keyring, row.secret, row.kid, context), previous }
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
          secrets: renewed.map(({ secret }) => secret?.ciphertext ?? null),
          kids: renewed.map(({ secret }) => secret?.kid ?? null),
          previous: renewed.map(({ previous }) => previous?.ciphertext ?? null),
          previousKids: renewed.map(({ previous }) => previous?.kid ?? null),
        }),
      )
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
