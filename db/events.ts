import { type SQL, sql } from 'drizzle-orm'
import type { RecipientKind } from '../core/channel'
import type { DeliveryState, EventType } from '../core/event'
import type { Environment } from '../core/state'
import { auditAdmin } from './audit'
import { disableEndpoint } from './event-endpoints'
import type { Database, Queries } from './index'

/** Calls to one endpoint at a time, over all processes: one that is slow must not keep the others waiting. */
const callsAtOnce = 20
const callsAtOnceWhileFailing = 2
/** A first call that failed while its run could not be started is made again after this. */
const untilNextFirstCallSeconds = 30
/** An endpoint that received nothing for so long is called no more. */
const failingDays = 5

/** Everything a call needs, read by the statement that claims it. */
export interface TakenDelivery {
  id: string
  replays: number
  endpointId: string
  url: string
  secretCiphertext: Buffer
  secretKid: string
  previousSecretCiphertext: Buffer | null
  previousSecretKid: string | null
  eventId: string
  type: EventType
  environment: Environment
  detail: Record<string, string | number | boolean | null>
  at: Date
  appId: string
  requestId: string | null
  purpose: string | null
  metadataCiphertext: Buffer | null
  sealKid: string | null
  recipientId: string | null
  recipientKind: RecipientKind | null
  /** Null once erased. */
  ciphertext: Buffer | null
  kid: string | null
}

const takenColumns = sql`taken.id, taken.replays, e.id as "endpointId", e.url,
  e.secret_ciphertext as "secretCiphertext", e.secret_kid as "secretKid",
  case when e.previous_secret_until > now() then e.previous_secret_ciphertext end as "previousSecretCiphertext",
  e.previous_secret_kid as "previousSecretKid",
  v.id as "eventId", v.type, v.environment, v.detail, v.at, v.app_id as "appId", v.request_id as "requestId",
  r.purpose, r.metadata_ciphertext as "metadataCiphertext", r.seal_kid as "sealKid",
  p.id as "recipientId", p.kind as "recipientKind", p.ciphertext, p.kid
  from taken join event_endpoints e on e.id = taken.endpoint_id join events v on v.id = taken.event_id
    left join otp_requests r on r.id = v.request_id left join recipients p on p.id = r.recipient_id`

/** Of endpoint `e`: how many calls more it may get now. */
const callsLeft = (claimSeconds: number): SQL => sql`greatest(0,
  case when e.failing_since is null then ${callsAtOnce}::int else ${callsAtOnceWhileFailing}::int end
  - (select count(*) from event_deliveries c where c.endpoint_id = e.id
      and c.claimed_at > now() - make_interval(secs => ${claimSeconds})))`

/** Who takes deliveries. */
export interface Taker {
  /** After this, one that was taken by a sender that died is due again. */
  claimSeconds: number
  /** Where the process stands; apps of another region are left to a process there. */
  region?: string | undefined
}

/** Of endpoint `e`: it is called at all, and from here. */
const isCalledFrom = (
  region: string | undefined,
): SQL => sql`e.deleted_at is null and e.disabled_at is null
  and exists (select from apps where apps.id = e.app_id and (apps.region is null or apps.region = ${region ?? null}))`

/**
 * Takes deliveries that are due, each for one sender only, and of each endpoint only as many as it may get at a time.
 */
export async function takeDue(
  db: Queries,
  { limit, claimSeconds, region }: Taker & { limit: number },
): Promise<TakenDelivery[]> {
  return db.many<TakenDelivery>(sql`
    with taken as (
      update event_deliveries set claimed_at = clock_timestamp() where id in (
        select next.id from event_endpoints e cross join lateral (
          select id, due_at from event_deliveries d
          where d.endpoint_id = e.id and d.state = 'due' and d.due_at <= now()
            and (d.claimed_at is null or d.claimed_at <= now() - make_interval(secs => ${claimSeconds}))
          order by due_at limit ${callsLeft(claimSeconds)} for update skip locked
        ) next
        where ${isCalledFrom(region)}
          and exists (select from event_deliveries where state = 'due')
        order by next.due_at limit ${limit})
      returning id, replays, endpoint_id, event_id
    ) select ${takenColumns}`)
}

/**
 * Takes a delivery for its run's next try.
 * @returns `busy` when its endpoint gets as many calls as it may, or none from here; else the state of a delivery that needs no more tries
 */
export async function takeForRetry(
  db: Queries,
  { id, replays, claimSeconds, region }: Taker & { id: string; replays: number },
): Promise<TakenDelivery | 'busy' | DeliveryState> {
  const taken = await db.one<TakenDelivery>(sql`
    with taken as (
      update event_deliveries d set claimed_at = clock_timestamp(), state = 'retrying' from event_endpoints e
      where d.id = ${id} and d.replays = ${replays} and d.state in ('due', 'retrying')
        and e.id = d.endpoint_id and ${isCalledFrom(region)}
        and (d.claimed_at is null or d.claimed_at <= now() - make_interval(secs => ${claimSeconds}))
        and ${callsLeft(claimSeconds)} > 0
      returning d.id, d.replays, d.endpoint_id, d.event_id
    ) select ${takenColumns}`)
  if (taken) return taken
  const row = await db.one<{ state: DeliveryState }>(
    sql`select state from event_deliveries where id = ${id} and replays = ${replays}`,
  )
  if (!row) return 'failed'
  return row.state === 'due' || row.state === 'retrying' ? 'busy' : row.state
}

/** A sender that ends gives back what it has taken and not called. */
export async function giveBack(db: Queries, { id, replays }: Taken): Promise<void> {
  await db.many(sql`update event_deliveries set claimed_at = null
    where id = ${id} and replays = ${replays} and state in ('due', 'retrying')`)
}

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

/**
 * Writes down a call. A failed first one stays due, for later, until {@link markRetrying} tells that its run has it.
 * @param last no try follows, if this one failed
 * @returns the delivery's state; undefined when it was decided meanwhile by another call, or started anew
 */
export async function recordTry(
  db: Database,
  taken: Pick<TakenDelivery, 'id' | 'replays' | 'endpointId' | 'appId'>,
  made: Try,
  { last }: { last: boolean },
): Promise<DeliveryState | undefined> {
  const { endpointId: id, appId } = taken
  if (made.gone || (last && !made.received && (await hasFailedForDays(db, id)))) {
    return db.transaction(async (tx) => {
      // The app's chain first, as every change of an endpoint does: the two never wait for each other crosswise.
      await disableEndpoint(tx, { id, appId }, made.gone ? 'gone' : 'failing')
      return record(tx, taken, made, { final: true })
    })
  }
  const state = await record(db, taken, made, { final: last })
  // In a statement of its own: it holds no delivery then.
  await db.many(
    made.received
      ? sql`update event_endpoints set failing_since = null where id = ${id} and failing_since is not null`
      : sql`update event_endpoints set failing_since = now() where id = ${id} and failing_since is null`,
  )
  return state
}

async function record(
  db: Queries,
  { id, replays }: Taken,
  { received, milliseconds, httpStatus, fault }: Try,
  { final }: { final: boolean },
): Promise<DeliveryState | undefined> {
  const row = await db.one<{ state: DeliveryState }>(sql`
    with called as (
      update event_deliveries set tries = tries + 1, claimed_at = null,
        state = case when ${received} then 'delivered' when ${final} then 'failed' else state end::delivery_state,
        delivered_at = case when ${received} then clock_timestamp() end,
        due_at = now() + make_interval(secs => ${untilNextFirstCallSeconds})
      where id = ${id} and replays = ${replays}
        -- Perhaps given up with its endpoint while the call was made: what the call achieved counts all the same.
        and state <> 'delivered'
      returning id, tries, state
    ), logged as (
      insert into event_tries (delivery_id, number, at, milliseconds, http_status, fault)
      select id, tries, clock_timestamp() - make_interval(secs => ${milliseconds / 1_000}), ${milliseconds},
        ${httpStatus ?? null}, ${fault ?? null} from called
    )
    select state from called`)
  return row?.state
}

const hasFailedForDays = async (db: Queries, endpointId: string): Promise<boolean> =>
  (await db.one(sql`select from event_endpoints where id = ${endpointId}
    and failing_since < now() - make_interval(days => ${failingDays})`)) !== undefined

/** The delivery's run has started: the loop has nothing more to do with it. */
export async function markRetrying(db: Queries, { id, replays }: Taken): Promise<void> {
  await db.many(sql`update event_deliveries set state = 'retrying'
    where id = ${id} and replays = ${replays} and state = 'due'`)
}

/** An event for trying an endpoint out; it goes there whatever types the endpoint is registered for. */
export async function addTestEvent(
  db: Queries,
  { id, appId }: { id: string; appId: string },
): Promise<{ eventId: string; deliveryId: string } | undefined> {
  return db.one(sql`
    with made as (
      insert into events (id, app_id, environment, type, detail, at)
      select 'evt_' || replace(gen_random_uuid()::text, '-', ''), app_id, environment, 'test', '{}', clock_timestamp()
      from event_endpoints where id = ${id} and app_id = ${appId} and deleted_at is null and disabled_at is null
      returning id, at
    ), sent as (
      insert into event_deliveries (id, event_id, endpoint_id, created_at)
      select 'dlv_' || replace(gen_random_uuid()::text, '-', ''), id, ${id}, at from made returning id, event_id
    )
    select event_id as "eventId", id as "deliveryId" from sent`)
}

/** One call, or none yet, of the log. */
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

/** What was and is to be sent to an endpoint, the newest first. */
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

/** The app that an event is about. */
export function findEvent(db: Queries, id: string) {
  return db.one<{ appId: string; environment: Environment }>(
    sql`select app_id as "appId", environment from events where id = ${id}`,
  )
}

const anew = sql`state = 'due', replays = d.replays + 1, due_at = now(), claimed_at = null, delivered_at = null`

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
  const same = endpointId === undefined ? sql`` : sql`and d.endpoint_id = ${endpointId}`
  return db.transaction(async (tx) => {
    await tx.many(
      auditAdmin({ appId, type: 'event_replayed', actor, detail: { event_id: eventId } }),
    )
    return tx.many<{ id: string; endpointId: string }>(sql`
      update event_deliveries d set ${anew} from event_endpoints e
      where d.event_id = ${eventId} ${same} and e.id = d.endpoint_id and e.deleted_at is null and e.disabled_at is null
      returning d.id, e.id as "endpointId"`)
  })
}

/** Sends once more what an endpoint has not received since a time, the oldest first. @returns how many, at most `limit` */
export async function replayFailed(
  db: Database,
  place: { endpointId: string; since: Date; limit: number; appId: string; actor: string },
): Promise<number> {
  const { endpointId, since, limit, appId, actor } = place
  return db.transaction(async (tx) => {
    const detail = { endpoint_id: endpointId, since: since.toISOString() }
    await tx.many(auditAdmin({ appId, type: 'event_replayed', actor, detail }))
    const rows = await tx.many(sql`
      update event_deliveries d set ${anew} where id in (
        select f.id from event_deliveries f join event_endpoints e on e.id = f.endpoint_id
        where f.endpoint_id = ${endpointId} and f.state in ('failed', 'retrying') and f.created_at >= ${since}
          and e.deleted_at is null and e.disabled_at is null
        order by f.created_at limit ${limit} for update of f skip locked)
      returning d.id`)
    return rows.length
  })
}
