import { eq, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type DeliveryState, type EventType, silentRunHours } from '../../core/events/event'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '..'
import { events } from '../schema/events'
import { columns, IdRow, type Named, query, statement } from '../statement'

const testStatement = statement(
  'add_test_event',
  z.strictObject({ eventId: z.string(), deliveryId: z.string() }),
  (p: Named<{ id: string; appId: string }>) => sql`
    with made as (
      insert into events (id, app_id, environment, type, detail, at)
      select 'evt_' || replace(gen_random_uuid()::text, '-', ''), app_id, environment, 'test', '{}', clock_timestamp()
      from event_endpoints where id = ${p.id} and app_id = ${p.appId} and deleted_at is null and disabled_at is null
      returning id, at
    ), sent as (
      insert into event_deliveries (id, event_id, endpoint_id, created_at)
      select 'dlv_' || replace(gen_random_uuid()::text, '-', ''), id, ${p.id}, at from made returning id, event_id
    )
    select event_id as "eventId", id as "deliveryId" from sent`,
)

/** An event for trying an endpoint out; it goes there whatever types the endpoint is registered for. */
export const addTestEvent = (
  db: Queries,
  { id, appId }: { id: string; appId: string },
): Promise<{ eventId: string; deliveryId: string } | undefined> =>
  db.one(testStatement({ id, appId }))

/** An event on its way to an endpoint, and every call made for it. */
export interface DeliveryRow {
  id: string
  eventId: string
  type: EventType
  requestId: string | null
  state: DeliveryState
  replays: number
  createdAt: Date
  deliveredAt: Date | null
  tries: {
    number: number
    at: string
    milliseconds: number
    httpStatus: number | null
    fault: string | null
  }[]
}

/** What was and is to be sent to an endpoint, the newest first. Unnamed: each set of filters is to have a plan of its own. */
export function listDeliveries(
  db: Queries,
  {
    endpointId,
    state,
    after,
    limit,
  }: {
    endpointId: string
    state?: DeliveryState | undefined
    /** The last delivery of the page before. */
    after?: string | undefined
    limit: number
  },
): Promise<DeliveryRow[]> {
  const same = state === undefined ? sql`` : sql`and d.state = ${state}`
  const older =
    after === undefined
      ? sql``
      : sql`and (d.created_at, d.id) < (select created_at, id from event_deliveries where id = ${after})`
  return db.many<DeliveryRow>(sql`
    select d.id, v.id as "eventId", v.type, v.request_id as "requestId", d.state, d.replays,
      d.created_at as "createdAt", d.delivered_at as "deliveredAt",
      coalesce((select jsonb_agg(jsonb_build_object('number', t.number,
          'at', to_char(t.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'milliseconds', t.milliseconds, 'httpStatus', t.http_status, 'fault', t.fault) order by t.number)
        from event_tries t where t.delivery_id = d.id), '[]') as tries
    from event_deliveries d join events v on v.id = d.event_id
    where d.endpoint_id = ${endpointId} ${same} ${older}
    order by d.created_at desc, d.id desc limit ${limit}`)
}

const findStatement = query('find_event', (p: Named<{ id: string }>, db) =>
  db
    .select(columns({ appId: events.appId, environment: events.environment }))
    .from(events)
    .where(eq(events.id, p.id)),
)

/** The app that an event is about. */
export const findEvent = (db: Queries, id: string) => db.one(findStatement({ id }))

const anew = sql`state = 'due', replays = d.replays + 1, due_at = now(), claimed_at = null, delivered_at = null`

const replayStatement = statement(
  'replay_event',
  z.strictObject({ id: z.string(), endpointId: z.string() }),
  (p: Named<{ eventId: string; endpointId: string | null }>) => sql`
      update event_deliveries d set ${anew} from event_endpoints e
      where d.event_id = ${p.eventId} and d.endpoint_id = coalesce(${p.endpointId}, d.endpoint_id)
        and e.id = d.endpoint_id and e.deleted_at is null and e.disabled_at is null
      returning d.id, e.id as "endpointId"`,
)

/** Sends an event once more to every endpoint it was written for, or to one of them, unless disabled. */
export async function replayEvent(
  db: Database,
  {
    eventId,
    endpointId,
    appId,
    actor,
  }: { eventId: string; endpointId?: string | undefined; appId: string; actor: string },
): Promise<{ id: string; endpointId: string }[]> {
  return db.transaction(async (tx) => {
    await tx.many(
      auditAdmin({ appId, type: 'event_replayed', actor, detail: { event_id: eventId } }),
    )
    return tx.many(replayStatement({ eventId, endpointId: endpointId ?? null }))
  })
}

const replayFailedStatement = statement(
  'replay_failed',
  IdRow,
  (p: Named<{ endpointId: string; since: Date; limit: number }>) => sql`
      update event_deliveries d set ${anew} where id in (
        select f.id from event_deliveries f join event_endpoints e on e.id = f.endpoint_id
        where f.endpoint_id = ${p.endpointId} and f.state in ('failed', 'retrying') and f.created_at >= ${p.since}
          and e.deleted_at is null and e.disabled_at is null
        order by f.created_at limit ${p.limit} for update of f skip locked)
      returning d.id`,
)

/** Sends once more what an endpoint has not received since a time, the oldest first. @returns how many, at most `limit` */
export async function replayFailed(
  db: Database,
  place: { endpointId: string; since: Date; limit: number; appId: string; actor: string },
): Promise<number> {
  const { endpointId, since, limit, appId, actor } = place
  return db.transaction(async (tx) => {
    const detail = { endpoint_id: endpointId, since: since.toISOString() }
    await tx.many(auditAdmin({ appId, type: 'event_replayed', actor, detail }))
    const rows = await tx.many(replayFailedStatement({ endpointId, since, limit }))
    return rows.length
  })
}

/** Of event_deliveries `r`, of endpoint `e`: its run was not heard of for longer than any pause. */
const isLost = sql`r.endpoint_id = e.id and r.state = 'retrying'
  and r.due_at < now() - make_interval(hours => ${silentRunHours})`
const isWanted = sql`(e.deleted_at is null and e.disabled_at is null)`

/** Something waits for a run that Temporal has lost. */
export const anyLost = sql`exists (select from event_endpoints e cross join lateral (
  select from event_deliveries r where ${isLost} limit 1) one where ${isWanted})`

const restart = statement(
  'restart_lost',
  IdRow,
  (p: Named<{ limit: number }>) => sql`
  update event_deliveries d set ${anew} where id in (
    select lost.id from event_endpoints e cross join lateral (
      select id from event_deliveries r where ${isLost} limit ${p.limit} for update skip locked) lost
    where ${isWanted} limit ${p.limit})
  returning id`,
)

/**
 * Sends anew what waits for runs that were not heard of for longer than any pause: Temporal has lost them.
 * @returns how many, at most `limit`
 */
export const restartLost = async (db: Queries, limit: number): Promise<number> =>
  (await db.many(restart({ limit }))).length
