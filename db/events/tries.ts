import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type DeliveryState, deliveryStates } from '../../core/events/event'
import { disableEndpoint } from './endpoints'
import type { TakenDelivery } from './taking'
import type { Database, Queries } from '..'
import { IdRow, type Named, NoRow, statement } from '../statement'

/** A first call that failed while its run could not be started is made again after this. */
const untilNextFirstCallSeconds = 30
/** A delivery that could not even be made ready is looked at again after this. */
const putOffSeconds = 60
/** An endpoint that received nothing for so long is called no more. */
const failingDays = 5

type Taken = Pick<TakenDelivery, 'id' | 'replays'>

/** How a call went. */
export interface Try {
  received: boolean
  /** The receiver wants no more events. */
  gone: boolean
  milliseconds: number
  httpStatus?: number | undefined
  fault?: string | undefined
}

const noteReceived = statement(
  'note_receiving',
  NoRow,
  (p: Named<{ id: string }>) =>
    sql`update event_endpoints set failing_since = null where id = ${p.id} and failing_since is not null`,
)

const noteFailing = statement(
  'note_failing',
  NoRow,
  (p: Named<{ id: string }>) =>
    sql`update event_endpoints set failing_since = now() where id = ${p.id} and failing_since is null`,
)

/**
 * Writes down a call. A failed first one stays due, for later, until {@link markRetrying} tells that its run has it.
 * @param last no try follows, if this one failed
 * @returns the delivery's state; undefined when it was decided meanwhile by another call, or started anew
 */
export async function recordTry(
  db: Database,
  taken: Taken & Pick<TakenDelivery, 'endpointId' | 'appId'>,
  made: Try,
  { last }: { last: boolean },
): Promise<DeliveryState | undefined> {
  const { endpointId: id, appId } = taken
  if (made.gone || (!made.received && (await hasFailedForDays(db, id)))) {
    // Should this process end in between: nobody calls the endpoint, and the delivery is given up with the others.
    await disableEndpoint(db, { id, appId }, made.gone ? 'gone' : 'failing')
    return record(db, taken, made, { final: true })
  }
  const state = await record(db, taken, made, { final: last })
  // In a statement of its own: it holds no delivery then.
  await db.many(made.received ? noteReceived({ id }) : noteFailing({ id }))
  return state
}

interface RecordParams extends Taken {
  received: boolean
  final: boolean
  milliseconds: number
  httpStatus: number | null
  fault: string | null
}

const recordStatement = statement(
  'record_try',
  z.strictObject({ state: z.enum(deliveryStates) }),
  (p: Named<RecordParams>) => sql`
    with called as (
      update event_deliveries set tries = tries + 1, claimed_at = null,
        state = case when ${p.received}::boolean then 'delivered' when ${p.final}::boolean then 'failed' else state end::delivery_state,
        delivered_at = case when ${p.received}::boolean then clock_timestamp() end,
        due_at = now() + make_interval(secs => ${untilNextFirstCallSeconds})
      where id = ${p.id} and replays = ${p.replays}
        -- Perhaps given up with its endpoint while the call was made: that it was received counts all the same.
        and state <> 'delivered'
      returning id, tries, state
    ), logged as (
      insert into event_tries (delivery_id, number, at, milliseconds, http_status, fault)
      select id, tries, clock_timestamp() - make_interval(secs => ${p.milliseconds}::float8 / 1000), ${p.milliseconds}::int,
        ${p.httpStatus}::smallint, ${p.fault}::text from called
    )
    select state from called`,
)

async function record(
  db: Queries,
  { id, replays }: Taken,
  { received, milliseconds, httpStatus, fault }: Try,
  { final }: { final: boolean },
): Promise<DeliveryState | undefined> {
  const row = await db.one(
    recordStatement({
      ...{ id, replays, received, final, milliseconds },
      ...{ httpStatus: httpStatus ?? null, fault: fault ?? null },
    }),
  )
  return row?.state
}

const failingStatement = statement(
  'has_failed_for_days',
  IdRow,
  (p: Named<{ endpointId: string }>) => sql`
  select id from event_endpoints where id = ${p.endpointId}
    and failing_since < now() - make_interval(days => ${failingDays})`,
)

const hasFailedForDays = async (db: Queries, endpointId: string): Promise<boolean> =>
  (await db.one(failingStatement({ endpointId }))) !== undefined

const retryingStatement = statement(
  'mark_retrying',
  NoRow,
  (p: Named<Taken>) => sql`
  update event_deliveries set state = 'retrying'
  where id = ${p.id} and replays = ${p.replays} and state = 'due'`,
)

/** The delivery's run has started: the loop has nothing more to do with it. */
export async function markRetrying(db: Queries, { id, replays }: Taken): Promise<void> {
  await db.many(retryingStatement({ id, replays }))
}

const putOffStatement = statement(
  'put_off_delivery',
  NoRow,
  (p: Named<Taken & { fault: string }>) => sql`
    with put_off as (
      update event_deliveries d set claimed_at = null, due_at = now() + make_interval(secs => ${putOffSeconds}),
        tries = d.tries + case when known.told then 0 else 1 end
      from (select exists (select from event_tries t join event_deliveries o on o.id = t.delivery_id
        where o.id = ${p.id} and t.number = o.tries and t.fault = ${p.fault}) as told) known
      where d.id = ${p.id} and d.replays = ${p.replays} and d.state in ('due', 'retrying')
      returning d.id, d.tries, known.told
    )
    insert into event_tries (delivery_id, number, at, milliseconds, fault)
    select id, tries, clock_timestamp(), 0, ${p.fault} from put_off where not told`,
)

/**
 * Leaves a delivery for later that no call could be made for, through no fault of its endpoint's. The log tells it
 * once, not at every look.
 */
export async function putOff(db: Queries, { id, replays }: Taken, fault: string): Promise<void> {
  await db.many(putOffStatement({ id, replays, fault }))
}

/** Of event_endpoints `e`: it is called no more. */
const isUnwanted = sql`(e.deleted_at is not null or e.disabled_at is not null)`

/** Deliveries that wait, in each of the two states: each has an index of its own. */
const waiting = { due: sql`d.state = 'due'`, retrying: sql`d.state = 'retrying'` }

const anyWaits = (isWaiting: SQL) => sql`exists (select from event_endpoints e cross join lateral (
  select from event_deliveries d where d.endpoint_id = e.id and ${isWaiting} limit 1) one where ${isUnwanted})`

/** Something waits for an endpoint that is called no more. */
export const anyUnwanted = sql`(${anyWaits(waiting.due)} or ${anyWaits(waiting.retrying)})`

const givingUp = (name: string, isWaiting: SQL) =>
  statement(
    name,
    IdRow,
    (p: Named<{ limit: number }>) => sql`
    update event_deliveries set state = 'failed', claimed_at = null where id in (
      select unwanted.id from event_endpoints e cross join lateral (
        select id from event_deliveries d where d.endpoint_id = e.id and ${isWaiting}
        limit ${p.limit} for update skip locked) unwanted
      where ${isUnwanted} limit ${p.limit})
    returning id`,
  )

const giveUpDue = givingUp('give_up_due', waiting.due)
const giveUpRetrying = givingUp('give_up_retrying', waiting.retrying)

/**
 * Gives up what waits for endpoints that are called no more.
 * @returns how many, at most `limit` of each kind
 */
export async function giveUpUnwanted(db: Queries, limit: number): Promise<number> {
  const due = await db.many(giveUpDue({ limit }))
  const retrying = await db.many(giveUpRetrying({ limit }))
  return due.length + retrying.length
}
