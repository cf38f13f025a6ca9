import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Retained, type Retention, wholeRequestDays } from '../../core/recipients/retention'
import { forgetDecisions, isFaded, isOldBlock } from '../protection/forget-sends'
import { isLockedForGood } from '../verify/check-budgets'
import { forgetHabits, forgetProviderIds, shred } from '../recipients/erasure'
import type { Database } from '../index'
import { IdRow, type Named, NoRow, statement } from '../statement'

/** What one batch removed; 0 of a part says that it was looked through. */
export interface Retired {
  part: Retained | 'providers' | 'protection'
  count: number
}

const olderThan = (column: SQL, days: SQL) =>
  sql`${column} < now() - make_interval(days => ${days}::int)`

/** Removes what has had its time, batch by batch, so that no statement is long and no row is held for long. */
export async function* retire(
  db: Database,
  keep: Retention,
  batch = 500,
): AsyncGenerator<Retired, void> {
  yield* inBatches('messages', batch, () =>
    countOf(db.many(retireMessages({ days: keep.messages, limit: batch }))),
  )
  yield* inBatches('contexts', batch, () =>
    countOf(db.many(retireContexts({ days: keep.contexts, limit: batch }))),
  )
  yield* inBatches('events', batch, () =>
    countOf(db.many(retireEvents({ days: keep.events, limit: batch }))),
  )
  yield* inBatches('events', batch, () =>
    countOf(db.many(retireDecisions({ days: keep.events, limit: batch }))),
  )
  yield* inBatches('protection', batch, () => countOf(db.many(retireStandings({ limit: batch }))))
  yield* inBatches('protection', batch, () => countOf(db.many(retireBlocks({ limit: batch }))))
  yield* retireRecipients(db, keep.recipients, batch)
  yield* inBatches('requests', batch, () => retireRequests(db, wholeRequestDays(keep), batch))
  yield* inBatches('recipients', batch, () => removeShredded(db, keep.requests, batch))
  for (const retireHours of [retireProviderHours, retirePingHours])
    yield* inBatches('providers', batch, () =>
      countOf(db.many(retireHours({ days: keep.requests, limit: batch }))),
    )
  yield* inBatches('requests', batch, () =>
    countOf(db.many(retireSpending({ days: keep.requests, limit: batch }))),
  )
  yield* inBatches('recipients', batch, () =>
    countOf(db.many(retireInbound({ days: keep.requests, limit: batch }))),
  )
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

interface Batch {
  /** What is older than so many days goes. */
  days: number
  limit: number
}

/** Each row stands for one that is gone. */
const GoneRow = z.strictObject({ gone: z.int() })
const gone = sql`returning 1 as gone`

const retireMessages = statement(
  'retire_messages',
  GoneRow,
  (p: Named<Batch>) => sql`
    update otp_requests set message_ciphertext = null, metadata_ciphertext = null, seal_kid = null
    where id in (select id from otp_requests
      where (message_ciphertext is not null or metadata_ciphertext is not null)
        and ${olderThan(sql`ended_at`, p.days)} limit ${p.limit} for update skip locked)
    ${gone}`,
)

const retireContexts = statement(
  'retire_contexts',
  GoneRow,
  (p: Named<Batch>) => sql`
    delete from request_contexts where request_id in (
      select request_id from request_contexts where ${olderThan(sql`created_at`, p.days)}
      limit ${p.limit} for update skip locked) ${gone}`,
)

/** What provider accounts achieved, by hour: it is summed from requests, and goes with them. */
const retireHoursOf = (table: string) =>
  statement(
    `retire_${table}`,
    GoneRow,
    (p: Named<Batch>) => sql`
    delete from ${sql.identifier(table)} where ctid in (
      select ctid from ${sql.identifier(table)} where ${olderThan(sql`hour`, p.days)} limit ${p.limit}) ${gone}`,
  )
const retireProviderHours = retireHoursOf('provider_hours')
const retirePingHours = retireHoursOf('provider_ping_hours')

/** What an app spent in a day, once no late price can be about it. */
const retireSpending = statement(
  'retire_spending',
  GoneRow,
  (p: Named<Batch>) => sql`
    delete from spending where ctid in (
      select ctid from spending where day < current_date - ${p.days}::integer limit ${p.limit}) ${gone}`,
)

/** The delete of rows that nobody holds. */
const retiring = (table: string, condition: SQL, limit: SQL) => sql`
    delete from ${sql.identifier(table)} where ctid in (
      select ctid from ${sql.identifier(table)} where ${condition} limit ${limit} for update skip locked) ${gone}`

const retireStandings = statement('retire_standings', GoneRow, (p: Named<{ limit: number }>) =>
  retiring('send_standings', isFaded, p.limit),
)
const retireBlocks = statement('retire_blocks', GoneRow, (p: Named<{ limit: number }>) =>
  retiring('send_blocks', isOldBlock, p.limit),
)

/** Why sends were let through or not. */
const retireDecisions = statement('retire_decisions', GoneRow, (p: Named<Batch>) =>
  retiring('send_decisions', olderThan(sql`at`, p.days), p.limit),
)

/** Messages that were acted upon, once no withdrawal is left of whom they were about. */
const retireInbound = statement('retire_inbound_messages', GoneRow, (p: Named<Batch>) =>
  retiring(
    'inbound_messages',
    sql`${olderThan(sql`seen_at`, p.days)} and not exists (
      select from opt_outs o where o.recipient_id = any(inbound_messages.recipients))`,
    p.limit,
  ),
)

/** Their deliveries and tries go with them. */
const retireEvents = statement(
  'retire_events',
  GoneRow,
  (p: Named<Batch>) =>
    sql`
    delete from events where id in (
      select id from events where ${olderThan(sql`at`, p.days)} limit ${p.limit} for update skip locked) ${gone}`,
)

/**
 * Why a recipient `r` that had no request for a while stays: a preference of late, a STOP, which must outlive it, or a
 * lock that only an operator lifts.
 */
const isNeeded = (days: SQL) => sql`
  exists (select from otp_requests q where q.recipient_id = r.id
    and (q.state = 'pending' or not ${olderThan(sql`q.created_at`, days)}))
  or exists (select from preferences p where p.recipient_id = r.id and not ${olderThan(sql`p.updated_at`, days)})
  or exists (select from opt_outs o where o.recipient_id = r.id and o.lifted_at is null)
  or exists (select from check_budgets b where b.recipient_id = r.id and ${isLockedForGood})`

const Seen = z.strictObject({ id: z.string(), createdAt: z.string(), due: z.boolean() })
type Seen = z.infer<typeof Seen>

const agedFrom = (p: Named<Batch>, after: SQL) => sql`
      select id, created_at::text as "createdAt", not (${isNeeded(p.days)}) as due from (
        select id, created_at from recipients where erased_at is null and ${olderThan(sql`created_at`, p.days)} ${after}
        order by created_at, id limit ${p.limit}) r
      order by created_at, id`

const firstAged = statement('find_aged_recipients', Seen, (p: Named<Batch>) => agedFrom(p, sql``))

const nextAged = statement(
  'find_aged_recipients_after',
  Seen,
  (p: Named<Batch & { createdAt: string; id: string }>) =>
    agedFrom(p, sql`and (created_at, id) > (${p.createdAt}::timestamptz, ${p.id})`),
)

/** Walks over all that are old enough once: most of those that were written to of late stay, and must not be met again. */
async function* retireRecipients(
  db: Database,
  days: number,
  batch: number,
): AsyncGenerator<Retired, void> {
  let last: Seen | undefined
  for (;;) {
    const page: Seen[] = await db.many(
      last
        ? nextAged({ days, limit: batch, createdAt: last.createdAt, id: last.id })
        : firstAged({ days, limit: batch }),
    )
    const due = page.filter((row) => row.due).map(({ id }) => id)
    yield { part: 'recipients', count: due.length === 0 ? 0 : await shredDue(db, days, due) }
    last = page.at(-1)
    if (!last || page.length < batch) return
  }
}

const holdAged = statement(
  'hold_aged_recipients',
  IdRow,
  (p: Named<{ ids: readonly string[] }>) => sql`
      select id from recipients where id = any(${p.ids}::text[]) and erased_at is null
      order by id for update skip locked`,
)

const stillDue = statement(
  'find_recipients_not_needed',
  IdRow,
  (p: Named<{ ids: readonly string[]; days: number }>) => sql`
      select id from recipients r where id = any(${p.ids}::text[]) and not (${isNeeded(p.days)})`,
)

const shredDue = (db: Database, days: number, candidates: readonly string[]): Promise<number> =>
  db.transaction(async (tx) => {
    // Held first and judged then: a send may have come meanwhile.
    const held = await tx.many(holdAged({ ids: candidates }))
    const due = await tx.many(stillDue({ ids: held.map(({ id }) => id), days }))
    const ids = due.map(({ id }) => id)
    await forgetProviderIds(tx, ids)
    await forgetDecisions(tx, ids)
    await forgetHabits(tx, ids)
    await shred(tx, ids)
    return ids.length
  })

const retireAudit = statement(
  'retire_audit',
  IdRow,
  (p: Named<Batch>) => sql`
      select retire_audit(now() - make_interval(days => ${p.days}::int), ${p.limit}) as id`,
)

const retireReceipts = statement(
  'retire_receipts',
  NoRow,
  (p: Named<{ ids: readonly string[] }>) => sql`
      delete from receipts using attempts a
      where attempt_id = a.id and a.request_id = any(${p.ids}::text[])`,
)

/** What belongs to requests, in the order in which it may go. */
const retireParts = [
  ...[
    'ussd_windows',
    'attempts',
    'request_contexts',
    'idempotency_keys',
    'page_requests',
    'events',
  ].map((table) =>
    statement(
      `retire_${table}_of_requests`,
      NoRow,
      (p: Named<{ ids: readonly string[] }>) => sql`
      delete from ${sql.identifier(table)} where request_id = any(${p.ids}::text[])`,
    ),
  ),
  statement(
    'retire_requests',
    NoRow,
    (p: Named<{ ids: readonly string[] }>) => sql`
      delete from otp_requests where id = any(${p.ids}::text[])`,
  ),
]

/**
 * Whole requests with their audit. Only its owner may remove audit rows; the owner's function refuses what is younger
 * than 90 days, and holds the requests that it gives back.
 */
const retireRequests = (db: Database, days: number, limit: number): Promise<number> =>
  db.transaction(async (tx) => {
    const rows = await tx.many(retireAudit({ days, limit }))
    const ids = rows.map(({ id }) => id)
    await tx.many(retireReceipts({ ids }))
    for (const retirePart of retireParts) await tx.many(retirePart({ ids }))
    return rows.length
  })

const removeBudgets = statement(
  'remove_budgets_of_shredded',
  NoRow,
  (p: Named<{ limit: number }>) => sql`
    delete from check_budgets where recipient_id in (
      select b.recipient_id from check_budgets b join recipients r on r.id = b.recipient_id
      where r.erased_at is not null limit ${p.limit})`,
)

const removeRecipients = statement(
  'remove_shredded_recipients',
  GoneRow,
  (p: Named<Batch>) => sql`
    delete from recipients where id in (
      select id from recipients r where ${olderThan(sql`erased_at`, p.days)}
        and not exists (select from otp_requests q where q.recipient_id = r.id)
        and not exists (select from send_windows w where w.recipient_id = r.id)
        and not exists (select from preferences p where p.recipient_id = r.id)
        and not exists (select from opt_outs o where o.recipient_id = r.id)
        and not exists (select from recipient_verifications v where v.recipient_id = r.id)
      limit ${p.limit} for update skip locked) ${gone}`,
)

/** The empty rows of recipients whose last request is gone too, and those that late checks of theirs left. */
async function removeShredded(db: Database, days: number, limit: number): Promise<number> {
  await db.many(removeBudgets({ limit }))
  return countOf(db.many(removeRecipients({ days, limit })))
}
