import { type SQL, sql } from 'drizzle-orm'
import { type Retained, type Retention, wholeRequestDays } from '../../core/retention'
import { forgetDecisions, isFaded, isOldBlock } from '../abuse/forget-sends'
import { isLockedForGood } from '../checks/check-budgets'
import { forgetHabits, forgetProviderIds, shred } from '../recipients/erasure'
import type { Database } from '../index'

/** What one batch removed; 0 of a part says that it was looked through. */
export interface Retired {
  part: Retained | 'providers' | 'protection'
  count: number
}

const olderThan = (column: SQL, days: number) =>
  sql`${column} < now() - make_interval(days => ${days})`

/** Removes what has had its time, batch by batch, so that no statement is long and no row is held for long. */
export async function* retire(
  db: Database,
  keep: Retention,
  batch = 500,
): AsyncGenerator<Retired, void> {
  yield* inBatches('messages', batch, () => retireMessages(db, keep.messages, batch))
  yield* inBatches('contexts', batch, () => retireContexts(db, keep.contexts, batch))
  yield* inBatches('events', batch, () => retireEvents(db, keep.events, batch))
  yield* inBatches('events', batch, () => retireDecisions(db, keep.events, batch))
  yield* inBatches('protection', batch, () => retireRows(db, sql`send_standings`, isFaded, batch))
  yield* inBatches('protection', batch, () => retireRows(db, sql`send_blocks`, isOldBlock, batch))
  yield* retireRecipients(db, keep.recipients, batch)
  yield* inBatches('requests', batch, () => retireRequests(db, wholeRequestDays(keep), batch))
  yield* inBatches('recipients', batch, () => removeShredded(db, keep.requests, batch))
  for (const table of [sql`provider_hours`, sql`provider_ping_hours`])
    yield* inBatches('providers', batch, () => retireHours(db, table, keep.requests, batch))
  yield* inBatches('requests', batch, () => retireSpending(db, keep.requests, batch))
  yield* inBatches('recipients', batch, () => retireInbound(db, keep.requests, batch))
}

async function* inBatches(
  part: Retired['part'],
  batch: number,
  retireBatch: () => Promise<number>,
): AsyncGenerator<Retired, void> {
  for (let count = batch; count >= batch;) {
    count = await retireBatch()
    yield { part, count }
  }
}

const countOf = async (rows: Promise<unknown[]>): Promise<number> => (await rows).length

const retireMessages = (db: Database, days: number, limit: number) =>
  countOf(
    db.many(sql`update otp_requests set message_ciphertext = null, metadata_ciphertext = null, seal_kid = null
      where id in (select id from otp_requests
        where (message_ciphertext is not null or metadata_ciphertext is not null)
          and ${olderThan(sql`ended_at`, days)} limit ${limit} for update skip locked)
      returning 1`),
  )

const retireContexts = (db: Database, days: number, limit: number) =>
  countOf(
    db.many(sql`delete from request_contexts where request_id in (
      select request_id from request_contexts where ${olderThan(sql`created_at`, days)}
      limit ${limit} for update skip locked) returning 1`),
  )

/** What provider accounts achieved, by hour: it is summed from requests, and goes with them. */
const retireHours = (db: Database, table: SQL, days: number, limit: number) =>
  countOf(
    db.many(sql`delete from ${table} where ctid in (
      select ctid from ${table} where ${olderThan(sql`hour`, days)} limit ${limit}) returning 1`),
  )

/** What an app spent in a day, once no late price can be about it. */
const retireSpending = (db: Database, days: number, limit: number) =>
  countOf(
    db.many(sql`delete from spending where ctid in (
      select ctid from spending where day < current_date - ${days}::integer limit ${limit}) returning 1`),
  )

/** Why sends were let through or not. */
const retireDecisions = (db: Database, days: number, limit: number) =>
  retireRows(db, sql`send_decisions`, olderThan(sql`at`, days), limit)

/** Messages that were acted upon, once no withdrawal is left of whom they were about. */
const retireInbound = (db: Database, days: number, limit: number) =>
  retireRows(
    db,
    sql`inbound_messages`,
    sql`${olderThan(sql`seen_at`, days)} and not exists (
      select from opt_outs o where o.recipient_id = any(inbound_messages.recipients))`,
    limit,
  )

const retireRows = (db: Database, table: SQL, condition: SQL, limit: number) =>
  countOf(
    db.many(sql`delete from ${table} where ctid in (
      select ctid from ${table} where ${condition} limit ${limit} for update skip locked) returning 1`),
  )

/** Their deliveries and tries go with them. */
const retireEvents = (db: Database, days: number, limit: number) =>
  countOf(
    db.many(sql`delete from events where id in (
      select id from events where ${olderThan(sql`at`, days)} limit ${limit} for update skip locked) returning 1`),
  )

/**
 * Why a recipient `r` that had no request for a while stays: a preference of late, a STOP, which must outlive it, or a
 * lock that only an operator lifts.
 */
const isNeeded = (days: number) => sql`
  exists (select from otp_requests q where q.recipient_id = r.id
    and (q.state = 'pending' or not ${olderThan(sql`q.created_at`, days)}))
  or exists (select from preferences p where p.recipient_id = r.id and not ${olderThan(sql`p.updated_at`, days)})
  or exists (select from opt_outs o where o.recipient_id = r.id and o.lifted_at is null)
  or exists (select from check_budgets b where b.recipient_id = r.id and ${isLockedForGood})`

interface Seen {
  id: string
  createdAt: string
  due: boolean
}

/** Walks over all that are old enough once: most of those that were written to of late stay, and must not be met again. */
async function* retireRecipients(
  db: Database,
  days: number,
  batch: number,
): AsyncGenerator<Retired, void> {
  let last: Seen | undefined
  for (;;) {
    const after: SQL = last
      ? sql`and (created_at, id) > (${last.createdAt}::timestamptz, ${last.id})`
      : sql``
    const page: Seen[] = await db.many<Seen>(sql`
      select id, created_at::text as "createdAt", not (${isNeeded(days)}) as due from (
        select id, created_at from recipients where erased_at is null and ${olderThan(sql`created_at`, days)} ${after}
        order by created_at, id limit ${batch}) r
      order by created_at, id`)
    const due = page.filter((row) => row.due).map(({ id }) => id)
    yield { part: 'recipients', count: due.length === 0 ? 0 : await shredDue(db, days, due) }
    last = page.at(-1)
    if (!last || page.length < batch) return
  }
}

const shredDue = (db: Database, days: number, candidates: readonly string[]): Promise<number> =>
  db.transaction(async (tx) => {
    // Held first and judged then: a send may have come meanwhile.
    const held = await tx.many<{ id: string }>(sql`
      select id from recipients where id = any(${sql.param(candidates)}) and erased_at is null
      order by id for update skip locked`)
    const due = await tx.many<{ id: string }>(sql`
      select id from recipients r where id = any(${sql.param(held.map(({ id }) => id))})
        and not (${isNeeded(days)})`)
    const ids = due.map(({ id }) => id)
    await forgetProviderIds(tx, ids)
    await forgetDecisions(tx, ids)
    await forgetHabits(tx, ids)
    await shred(tx, ids)
    return ids.length
  })

/**
 * Whole requests with their audit. Only its owner may remove audit rows; the owner's function refuses what is younger
 * than 90 days, and holds the requests that it gives back.
 */
const retireRequests = (db: Database, days: number, limit: number): Promise<number> =>
  db.transaction(async (tx) => {
    const rows = await tx.many<{ id: string }>(
      sql`select retire_audit(now() - make_interval(days => ${days}), ${limit}) as id`,
    )
    const ids = sql.param(rows.map(({ id }) => id))
    await tx.many(sql`delete from receipts using attempts a
      where attempt_id = a.id and a.request_id = any(${ids})`)
    for (const table of [
      sql`ussd_windows`,
      sql`attempts`,
      sql`request_contexts`,
      sql`idempotency_keys`,
      sql`page_requests`,
      sql`events`,
    ])
      await tx.many(sql`delete from ${table} where request_id = any(${ids})`)
    await tx.many(sql`delete from otp_requests where id = any(${ids})`)
    return rows.length
  })

/** The empty rows of recipients whose last request is gone too, and those that late checks of theirs left. */
const removeShredded = async (db: Database, days: number, limit: number): Promise<number> => {
  await db.many(sql`delete from check_budgets where recipient_id in (
    select b.recipient_id from check_budgets b join recipients r on r.id = b.recipient_id
    where r.erased_at is not null limit ${limit})`)
  return countOf(
    db.many(sql`delete from recipients where id in (
      select id from recipients r where ${olderThan(sql`erased_at`, days)}
        and not exists (select from otp_requests q where q.recipient_id = r.id)
        and not exists (select from send_windows w where w.recipient_id = r.id)
        and not exists (select from preferences p where p.recipient_id = r.id)
        and not exists (select from opt_outs o where o.recipient_id = r.id)
        and not exists (select from recipient_verifications v where v.recipient_id = r.id)
      limit ${limit} for update skip locked) returning 1`),
  )
}
