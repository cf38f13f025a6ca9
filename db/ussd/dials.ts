import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { globalIndex, globalIndexes } from '../../codes/seal'
import { ussdLimits } from '../../core/limits'
import type { OwnTemplate } from '../../core/messages/text'
import { rankOf, satisfies, successRules } from '../../core/delivery/receipt'
import type { Wake } from '../../core/requests/wake'
import { templateFor } from '../messages/templates'
import { auditFrom } from '../audit/entry'
import type { Queries } from '..'
import { codeColumns, codeIn, codeShape } from '../requests/code-row'
import { dueNow } from '../requests/ending'
import { type Named, statement } from '../statement'

/** A session, as the network opened it. */
export interface Dial {
  provider: string
  /** As the network reports it. */
  phoneNumber: string
  /** Of its subscriber, where there are several. */
  spellings?: readonly string[]
}

/** A dialled number, for a statement. */
interface DialParams {
  provider: string
  /** Digests of the number as it was reported. */
  own: Buffer[]
  /** Those of its subscriber's other spellings. */
  others: Buffer[]
}

function dialParams(keyring: Keyring, { provider, phoneNumber, spellings = [] }: Dial): DialParams {
  const others = spellings.filter((spelling) => spelling !== phoneNumber)
  return {
    provider,
    own: globalIndexes(keyring, phoneNumber),
    others: others.flatMap((spelling) => globalIndexes(keyring, spelling)),
  }
}

/** The windows of a number under all its spellings; those of the reported one alone, where it has any. */
const isDialled = (p: Named<DialParams>): SQL => {
  const own = sql`any(${p.own}::bytea[])`
  return sql`w.provider = ${p.provider} and (w.global_index = ${own} or (w.global_index = any(${p.others}::bytea[])
    and not exists (select from ussd_windows e
      where e.global_index = ${own} and e.provider = ${p.provider} and e.expires_at > now())))`
}

const WaitingCode = z.strictObject({
  requestId: z.string(),
  brand: z.string(),
  locale: z.string(),
  /** The key that it is derived from. */
  codeKid: z.string(),
})
export type WaitingCode = z.infer<typeof WaitingCode>

const { views, dials, brands } = ussdLimits
const hasRoom = sql`(select count(*) from unnest(d.dials) t
  where t > now() - make_interval(secs => ${dials.windowSeconds})) < ${dials.max}`

/** A request whose code may be shown: one that no run knows of yet may still be closed as never sent. */
const isShowable = sql`r.state = 'pending' and r.expires_at > now()
  and (r.workflow_started_at is not null or r.queued)`

const waitingStatement = statement(
  'find_waiting_codes',
  z.strictObject({ taken: z.boolean(), waiting: z.array(WaitingCode).nullable() }),
  (p: Named<DialParams & { index: Buffer }>) => sql`
    with taken as (
      insert into ussd_dials as d (global_index, dials, expires_at)
      select ${p.index}::bytea, array[clock_timestamp()], now() + make_interval(secs => ${dials.windowSeconds})
      -- A flood by one number must not queue for its row.
      where not exists (select from ussd_dials d where d.global_index = ${p.index} and not (${hasRoom}))
      on conflict (global_index) do update set expires_at = excluded.expires_at, dials =
        array(select t from unnest(d.dials) t where t > now() - make_interval(secs => ${dials.windowSeconds}))
        || excluded.dials
      where ${hasRoom} returning 1
    ), newest as (
      select distinct on (r.app_id, r.brand) r.id, r.brand, r.locale, r.code_kid, r.created_at
      from ussd_windows w join otp_requests r on r.id = w.request_id
      where ${isDialled(p)} and w.expires_at > now() and w.views < ${views} and ${isShowable}
      order by r.app_id, r.brand, r.created_at desc
    ), listed as (
      select * from newest order by created_at desc limit ${brands}
    )
    select exists (select from taken) as taken, (select jsonb_agg(jsonb_build_object(
      'requestId', id, 'brand', brand, 'locale', locale, 'codeKid', code_kid) order by created_at desc) from listed) as waiting`,
)

/**
 * Counts a dial and finds the codes that wait for its number at this account: the newest of each app and brand, newest
 * first. One statement, the same whether any waits or not.
 * @returns undefined when the number dialled too often of late
 */
export async function findWaitingCodes(
  db: Queries,
  keyring: Keyring,
  dial: Dial,
): Promise<WaitingCode[] | undefined> {
  const index = globalIndex(keyring, dial.phoneNumber)
  const row = await db.one(waitingStatement({ ...dialParams(keyring, dial), index }))
  return row?.taken ? (row.waiting ?? []) : undefined
}

/** A code to show, and what its screen is made of. */
export interface ShownCode {
  code: string
  /** The app's own words. */
  template: OwnTemplate | undefined
  /** What is left of its life. */
  lifetimeSeconds: number
  /** To be sent after the answer. */
  wake: Wake | undefined
}

const ShownRow = z.strictObject({
  ...codeShape,
  template: z.custom<OwnTemplate>().nullable(),
  lifetimeSeconds: z.int(),
  /** Null where a look at the same moment makes the attempt: this one's snapshot does not show it. */
  attempt: z.int().nullable(),
  step: z.int(),
  isNews: z.boolean(),
  dueAt: z.date().nullable(),
  succeeds: z.boolean(),
})
type ShownRow = z.infer<typeof ShownRow>

/** One look of one session at a code. */
interface Look extends Dial {
  /** Undefined where nothing waits: the statement is the same, and finds nothing. */
  waiting: WaitingCode | undefined
  /** Tells one session of the account from another. */
  sessionKey: string
}

/** The rules that a code on a screen fulfils: who dials has it in front of them. */
const fulfilled = sql.raw(
  `array[${successRules
    .filter((rule) => satisfies(rule, 'delivered'))
    .map((rule) => `'${rule}'`)
    .join()}]`,
)
const delivered = rankOf.delivered

/** A look, for a statement. */
interface LookParams extends DialParams {
  /** Empty where nothing waits. */
  requestId: string
  sessionKey: string
  /** Of the attempt that the dial becomes where its window has none. */
  ownId: string
}

/** Holds the request, takes the look, and makes the dial's own attempt where the window has none yet. */
const viewed = (p: Named<LookParams>): SQL => sql`request as (
      select * from otp_requests r where r.id = ${p.requestId} and ${isShowable} for update
    ), viewed as (
      update ussd_windows w set views = w.views + 1, attempt_id = coalesce(w.attempt_id, ${p.ownId})
      from request where w.request_id = request.id and ${isDialled(p)} and w.views < ${views}
      returning w.attempt_id, w.step, w.success, w.service_code, w.attempt_id = ${p.ownId} as is_own
    ), made as (
      insert into attempts (id, request_id, number, step, send_no, try_no, channel, provider, success, state, status,
        status_rank, callback_digest, run_id, claimed_at, finished_at, status_at, instruction)
      select attempt_id, request.id, attempt_seq + 1, step, -(attempt_seq + 1), 1, 'ussd', ${p.provider}, success,
        'accepted', 'delivered', ${delivered},
        -- Nobody is given an address for reports of it.
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
        coalesce(run_id, ''), now(), now(), now(), service_code
      from viewed, request where is_own returning number
    )`

/** Writes the look down as a receipt, once per session, and says what is new about it. */
const noted = (p: Named<LookParams>): SQL => sql`noted as (
      insert into receipts (attempt_id, provider, event_key, status, raw_status, late)
      select attempt_id, ${p.provider}, 'dial:' || ${p.requestId}::text || ':' || ${p.sessionKey}::text, 'delivered', 'dialled', false
      from viewed on conflict (provider, event_key) do nothing returning 1
    ), moved as (
      update attempts a set status = 'delivered', status_rank = ${delivered}, status_at = clock_timestamp()
      from viewed where a.id = viewed.attempt_id and a.status_rank < ${delivered} returning a.number
    ), news as (
      select viewed.*, exists (select from noted) as is_noted,
        (select count(*)::int from made) as made, is_own or exists (select from moved) as is_news,
        success::text = any(${fulfilled}) as succeeds,
        coalesce((select number from made), (select number from attempts a where a.id = viewed.attempt_id)) as attempt
      from viewed
    )`

/** Counts it on the request, with its rows in the audit trail. */
function told(p: Named<LookParams>): SQL {
  const actor = sql`'provider:' || ${p.provider}::text`
  const attemptId = sql`attempt_id`
  const claim = sql`(select id, app_id, audit_seq - is_noted::int as audit_seq, attempt_id, step
      from told where made > 0) own`
  return sql`told as (
      update otp_requests r set attempt_seq = r.attempt_seq + made,
        audit_seq = r.audit_seq + made + is_noted::int,
        delivered_at = coalesce(r.delivered_at, clock_timestamp()),
        succeeded_at = case when succeeds then coalesce(r.succeeded_at, clock_timestamp()) else r.succeeded_at end,
        signal_due_at = case when succeeds and is_news then ${dueNow} else r.signal_due_at end
      from news where r.id = (select id from request)
      returning r.id, r.app_id, r.audit_seq, r.signal_due_at, news.*
    ), claimed as (${auditFrom(claim, {
      type: 'attempt_claimed',
      actor,
      attemptId,
      detail: sql`jsonb_build_object('channel', 'ussd', 'provider', ${p.provider}::text, 'step', step, 'by', 'dial')`,
    })}), heard as (${auditFrom(sql`(select * from told where is_noted) news`, {
      type: 'receipt',
      actor,
      attemptId,
      detail: sql`jsonb_build_object('channel', 'ussd', 'provider', ${p.provider}::text, 'status', 'delivered',
        'raw_status', 'dialled')`,
    })})`
}

const lookStatement = statement(
  'show_waiting_code',
  ShownRow,
  (p: Named<LookParams>) => sql`
    with ${viewed(p)}, ${noted(p)}, ${told(p)}
    select ${codeColumns(sql`request`)},
      ceil(extract(epoch from request.expires_at - now()))::int as "lifetimeSeconds",
      ${templateFor(sql`request`, 'ussd')} as template,
      told.attempt, told.step, told.is_news as "isNews", told.succeeds, told.signal_due_at as "dueAt"
    from told, request`,
)

/**
 * Takes one look at a waiting code and writes it down as its delivery, in one statement. Before the step had its turn
 * there is no attempt that this could be a receipt of: the dial is one of its own then, with a number below zero where
 * others have that of their send.
 * @returns undefined when there is nothing to show (any more)
 * @throws {UnknownKey} before anything is written
 */
export async function showWaitingCode(
  db: Queries,
  keyring: Keyring,
  look: Look,
): Promise<ShownCode | undefined> {
  const { waiting } = look
  if (waiting) keyring.find('codes', waiting.codeKid)
  const row = await db.one(
    lookStatement({
      ...dialParams(keyring, look),
      requestId: waiting?.requestId ?? '',
      sessionKey: look.sessionKey,
      ownId: randomId('att'),
    }),
  )
  if (!row || !waiting) return undefined
  const { requestId } = waiting
  const { template, lifetimeSeconds } = row
  const code = codeIn(keyring, requestId, row)
  return { code, template: template ?? undefined, lifetimeSeconds, wake: wakeOf(requestId, row) }
}

function wakeOf(requestId: string, row: ShownRow): Wake | undefined {
  const { isNews, succeeds, dueAt, attempt, step } = row
  // What is news was made or moved by this look, so its attempt is known.
  if (!isNews || !succeeds || !dueAt || attempt === null) return undefined
  return { requestId, dueAt, signal: 'receipt', attempt, step, status: 'delivered' }
}
