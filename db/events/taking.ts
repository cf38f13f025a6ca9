import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { recipientKinds } from '../../core/channel'
import { type DeliveryState, deliveryStates, eventTypes } from '../../core/events/event'
import { environments } from '../../core/requests/state'
import type { Queries } from '..'
import { isServedIn } from '../requests/region'
import { type Named, NoRow, statement } from '../statement'

/** Calls at a time over all processes, so that receivers that are slow keep no others waiting. */
const most = {
  toEndpoint: 20,
  toFailingEndpoint: 2,
  /** To all endpoints of an app. */
  ofApp: 60,
  /** Of an app's runs: a worker has slots of their own for these, and fewer. */
  retriesOfApp: 20,
}

const bytes = z.instanceof(Buffer)

const TakenRow = z.strictObject({
  id: z.string(),
  replays: z.int(),
  endpointId: z.string(),
  url: z.string(),
  secretCiphertext: bytes,
  secretKid: z.string(),
  previousSecretCiphertext: bytes.nullable(),
  previousSecretKid: z.string().nullable(),
  eventId: z.string(),
  type: z.enum(eventTypes),
  environment: z.enum(environments),
  detail: z.custom<Record<string, string | number | boolean | null>>(),
  at: z.date(),
  appId: z.string(),
  requestId: z.string().nullable(),
  purpose: z.string().nullable(),
  metadataCiphertext: bytes.nullable(),
  sealKid: z.string().nullable(),
  recipientId: z.string().nullable(),
  recipientKind: z.enum(recipientKinds).nullable(),
  /** Null once erased. */
  ciphertext: bytes.nullable(),
  kid: z.string().nullable(),
})

/** Everything a call needs, read by the statement that claims it. */
export type TakenDelivery = z.infer<typeof TakenRow>

const takenColumns = sql`taken.id, taken.replays, e.id as "endpointId", e.url,
  e.secret_ciphertext as "secretCiphertext", e.secret_kid as "secretKid",
  case when e.previous_secret_until > now() then e.previous_secret_ciphertext end as "previousSecretCiphertext",
  e.previous_secret_kid as "previousSecretKid",
  v.id as "eventId", v.type, v.environment, v.detail, v.at, v.app_id as "appId", v.request_id as "requestId",
  r.purpose, r.metadata_ciphertext as "metadataCiphertext", r.seal_kid as "sealKid",
  p.id as "recipientId", p.kind as "recipientKind", p.ciphertext, p.kid
  from taken join event_endpoints e on e.id = taken.endpoint_id join events v on v.id = taken.event_id
    left join otp_requests r on r.id = v.request_id left join recipients p on p.id = r.recipient_id`

/** Of endpoint `e`: how many calls it may get at a time. */
const allowed = sql`case when e.failing_since is null then ${most.toEndpoint}::int else ${most.toFailingEndpoint}::int end`

/** Delivery `c` is being called now. */
const isCalled = (claimSeconds: SQL): SQL =>
  sql`c.claimed_at > now() - make_interval(secs => ${claimSeconds})`

/** Delivery `d` is called by nobody now. */
const isFree = (claimSeconds: SQL): SQL =>
  sql`(d.claimed_at is null or d.claimed_at <= now() - make_interval(secs => ${claimSeconds}))`

/** Who takes deliveries. */
export interface Taker {
  /** After this, one that was taken by a sender that died is due again. */
  claimSeconds: number
  /** Where the process stands; apps of another region are left to a process there. */
  region?: string | undefined
}

/** Of endpoint `e`: it is called at all. */
const isWanted = sql`e.deleted_at is null and e.disabled_at is null`

/** Of endpoint `e`: it is called, and from here. */
const isCalledFrom = (region: SQL): SQL =>
  sql`${isWanted} and exists (select from apps where apps.id = e.app_id and ${isServedIn(region)})`

interface TakerParams {
  claimSeconds: number
  region: string | null
}

const takeStatement = statement(
  'take_due',
  TakenRow,
  (p: Named<TakerParams & { limit: number }>) => sql`
  with called as (
    select e.id, e.app_id, ${allowed} as allowed, busy.calls, sum(busy.calls) over (partition by e.app_id) as calls_of_app
    from event_endpoints e cross join lateral (
      select count(*) as calls from event_deliveries c where c.endpoint_id = e.id and ${isCalled(p.claimSeconds)}) busy
    where ${isCalledFrom(p.region)} and exists (select from event_deliveries where state = 'due')
  ), waiting as (
    select next.id, next.due_at, e.app_id, e.calls_of_app, e.calls + next.place as turn
    from called e cross join lateral (
      select id, due_at, row_number() over (order by due_at) as place from (
        select id, due_at from event_deliveries d
        where d.endpoint_id = e.id and d.state = 'due' and d.due_at <= now() and ${isFree(p.claimSeconds)}
        order by due_at limit greatest(0, e.allowed - e.calls) for update skip locked) free) next
  ), lined_up as (
    select id, due_at, turn, calls_of_app + row_number() over (partition by app_id order by turn, due_at) as turn_of_app
    from waiting
  ), taken as (
    update event_deliveries set claimed_at = clock_timestamp() where id in (
      select id from lined_up where turn_of_app <= ${most.ofApp} order by turn, due_at limit ${p.limit})
    returning id, replays, endpoint_id, event_id
  ) select ${takenColumns}`,
)

/**
 * Takes deliveries that are due, each for one sender only, and of each endpoint and app only as many as they may get at
 * a time. Whoever has the fewest calls under way comes first, however long others have waited in a longer line.
 */
export const takeDue = (
  db: Queries,
  { limit, claimSeconds, region }: Taker & { limit: number },
): Promise<TakenDelivery[]> =>
  db.many(takeStatement({ limit, claimSeconds, region: region ?? null }))

type RetryParams = TakerParams & Pick<TakenDelivery, 'id' | 'replays'>

const retryStatement = statement(
  'take_for_retry',
  TakenRow,
  (p: Named<RetryParams>) => sql`
  with taken as (
    update event_deliveries d set claimed_at = clock_timestamp(), state = 'retrying' from event_endpoints e
    where d.id = ${p.id} and d.replays = ${p.replays} and d.state in ('due', 'retrying')
      and e.id = d.endpoint_id and ${isCalledFrom(p.region)} and ${isFree(p.claimSeconds)}
      and (select count(*) from event_deliveries c where c.endpoint_id = e.id and ${isCalled(p.claimSeconds)}) < ${allowed}
      and (select count(*) from event_deliveries c join event_endpoints same on same.id = c.endpoint_id
        where same.app_id = e.app_id and c.state = 'retrying' and ${isCalled(p.claimSeconds)}) < ${most.retriesOfApp}
    returning d.id, d.replays, d.endpoint_id, d.event_id
  ) select ${takenColumns}`,
)

/**
 * Takes a delivery for its run's next try.
 * @returns `busy` when its endpoint or app gets as many calls as it may, or none from here; else the state of a delivery
 * that needs no more tries
 */
export async function takeForRetry(
  db: Queries,
  { id, replays, claimSeconds, region }: Taker & { id: string; replays: number },
): Promise<TakenDelivery | 'busy' | DeliveryState> {
  const taken = await db.one(retryStatement({ id, replays, claimSeconds, region: region ?? null }))
  return taken ?? leftToItsRun(db, { id, replays })
}

type Turn = Pick<TakenDelivery, 'id' | 'replays'>

const StateRow = z.strictObject({ state: z.enum(deliveryStates) })

const leaveStatement = statement(
  'leave_to_its_run',
  StateRow,
  (p: Named<Turn>) => sql`
    update event_deliveries d set due_at = now(),
      state = case when ${isWanted} then 'retrying' else 'failed' end::delivery_state,
      claimed_at = case when ${isWanted} then d.claimed_at end
    from event_endpoints e
    where d.id = ${p.id} and d.replays = ${p.replays} and d.state in ('due', 'retrying') and e.id = d.endpoint_id
    returning d.state`,
)

const stateStatement = statement(
  'find_delivery_state',
  StateRow,
  (p: Named<Turn>) => sql`
  select state from event_deliveries where id = ${p.id} and replays = ${p.replays}`,
)

/** What a run finds that gets no call: it waits, and is known to do so, or there is nothing to wait for. */
async function leftToItsRun(db: Queries, { id, replays }: Turn): Promise<'busy' | DeliveryState> {
  const open = await db.one(leaveStatement({ id, replays }))
  if (open) return open.state === 'failed' ? 'failed' : 'busy'
  const ended = await db.one(stateStatement({ id, replays }))
  return ended?.state ?? 'failed'
}

const giveBackStatement = statement(
  'give_back_delivery',
  NoRow,
  (p: Named<Turn>) => sql`
    update event_deliveries set claimed_at = null
    where id = ${p.id} and replays = ${p.replays} and state in ('due', 'retrying')`,
)

/** A sender that ends gives back what it has taken and not called. */
export async function giveBack(db: Queries, { id, replays }: Turn): Promise<void> {
  await db.many(giveBackStatement({ id, replays }))
}
