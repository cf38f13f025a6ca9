import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Channel, channels } from '../../core/channel'
import { alreadySendingSeconds } from '../../core/limits'
import type { Plan } from '../../core/requests/plan'
import { isPlan } from '../../core/shape'
import { instructionOf } from '../ussd/windows'
import { auditFrom } from '../audit/entry'
import type { Queries } from '../index'
import {
  type SubscriberKey,
  type SubscriberParams,
  subscriberParams,
  withdrawalIn,
  withdrawals,
} from '../recipients/consent'
import { knownOf } from '../recipients/known'
import { type Named, NoRow, statement } from '../statement'
import { channelInProgress } from './channel-in-progress'
import { dueNow, setState } from './ending'
import { type Owner, ownedBy } from './owner'

const LiveRow = z.strictObject({
  requestId: z.string(),
  plan: z.custom<Plan>(isPlan),
  country: z.string().nullable(),
  expiresAt: z.date(),
  queued: z.boolean(),
  started: z.boolean(),
  sends: z.int(),
  /** The channel in progress. */
  channel: z.enum(channels),
  instruction: z.string().nullable(),
  /** Some message was begun; a dial before the first of them is none. */
  everClaimed: z.boolean(),
  /** Any channel, in the last seconds. */
  recentlyClaimed: z.boolean(),
  /** The channel that this send is for, in the last seconds. */
  targetClaimed: z.boolean(),
  halfLifeGone: z.boolean(),
  /** Its time is over, and nobody has closed it yet. */
  overdue: z.boolean(),
})

export type LiveRow = z.infer<typeof LiveRow>

const recently = sql`claimed_at > now() - make_interval(secs => ${alreadySendingSeconds})`

/** @param target the channel that a send is for; null: the one in progress */
const liveColumns = (target: SQL): SQL => sql`
  r.id as "requestId", r.plan, r.country, r.expires_at as "expiresAt", r.queued, r.sends,
  r.workflow_started_at is not null as started,
  ${channelInProgress} as channel, ${instructionOf} as instruction,
  exists (select from attempts a where a.request_id = r.id and a.send_no > 0) as "everClaimed",
  exists (select from attempts a where a.request_id = r.id and ${recently}) as "recentlyClaimed",
  exists (select from attempts a where a.request_id = r.id and ${recently}
    and a.channel::text = coalesce(${target}, ${channelInProgress})) as "targetClaimed",
  r.expires_at - now() < (r.expires_at - r.created_at) / 2 as "halfLifeGone",
  r.expires_at <= now() as overdue`

type LockParams = Owner &
  SubscriberParams & { recipientId: string; purpose: string; asksKnown: boolean }

const lockStatement = statement(
  'lock_live',
  z.strictObject({
    id: z.string().nullable(),
    withdrawal: z.enum(withdrawals).nullable(),
    isKnown: z.boolean(),
  }),
  (p: Named<LockParams>) => sql`
  select (select id from otp_requests where ${ownedBy(p)} and recipient_id = ${p.recipientId}
      and purpose = ${p.purpose} and state = 'pending' for update) as id,
    ${withdrawalIn(p)} as withdrawal,
    ${p.asksKnown}::boolean and ${knownOf({ ...{ recipientId: p.recipientId, environment: p.environment }, moment: sql`now()` })}
      as "isKnown"`,
)

const readStatement = statement(
  'read_live',
  LiveRow,
  (p: Named<{ requestId: string; target: Channel | null }>) =>
    sql`select ${liveColumns(sql`${p.target}::text`)} from otp_requests r where id = ${p.requestId}`,
)

export interface LiveKey extends Owner, SubscriberKey {
  recipientIds: readonly [recipient: string, ...otherSpellings: string[]]
  purpose: string
}

/**
 * The live request, locked, and what is known of its recipient. Its attempts are read by a second statement: a claim that
 * the lock waited for is committed by then, and the first one would not see it.
 * @param asksKnown false: nobody is taken for known
 */
export async function lockLive(
  tx: Queries,
  { appId, purpose, ...subscriber }: LiveKey,
  { asksKnown, target }: { asksKnown: boolean; target?: Channel | undefined },
) {
  const [recipientId] = subscriber.recipientIds
  const { recipientIds, environment, consentAt } = subscriberParams(subscriber)
  const locked = await tx.one(
    lockStatement({
      ...{ appId, environment, recipientId, purpose },
      ...{ recipientIds, consentAt, asksKnown },
    }),
  )
  if (!locked) throw new Error('A statement without a condition gave no row.')
  const { id, withdrawal, isKnown } = locked
  const live =
    id === null ? undefined : await tx.one(readStatement({ requestId: id, target: target ?? null }))
  return { live, withdrawal, isKnown }
}

interface Repetition {
  requestId: string
  actor: string
  channel: Channel
  /** As JSON; null: those that it has. */
  money: string | null
  guard: string | null
}

const RepeatedRow = z.strictObject({
  sends: z.int(),
  resendSeq: z.int(),
  dueAt: z.date().nullable(),
})

const repeating = (
  p: Named<Repetition>,
  { type, also = sql`` }: { type: 'repeated' | 'resend_requested'; also?: SQL },
) => sql`
  with asked as (
    update otp_requests set sends = sends + 1, audit_seq = audit_seq + 1,
      money = coalesce(${p.money}::jsonb, money), guard = ${p.guard}::jsonb ${also}
    where id = ${p.requestId} returning id, app_id, audit_seq, sends, resend_seq, signal_due_at
  ), logged as (${auditFrom(sql`asked`, {
    type,
    actor: p.actor,
    detail: sql`jsonb_build_object('channel', ${p.channel}::text)`,
  })})
  select sends, resend_seq as "resendSeq", signal_due_at as "dueAt" from asked`

const repeatStatement = statement('repeat_live', RepeatedRow, (p: Named<Repetition>) =>
  repeating(p, { type: 'repeated' }),
)

const resendStatement = statement(
  'resend_live',
  RepeatedRow,
  (p: Named<Repetition & { step: string }>) =>
    repeating(p, {
      type: 'resend_requested',
      also: sql`, resend_seq = resend_seq + 1, resend_step = ${p.step}::jsonb, signal_due_at = ${dueNow}`,
    }),
)

/**
 * Counts a send that repeats a live request, which the caller holds.
 * @param step as JSON, what is sent again; undefined: nothing, the message is on its way
 */
export const repeatLive = (tx: Queries, repetition: Repetition, step: string | undefined) =>
  tx.one(
    step === undefined ? repeatStatement(repetition) : resendStatement({ ...repetition, step }),
  )

const supersedeStatement = statement(
  'supersede',
  z.strictObject({ dueAt: z.date().nullable() }),
  (p: Named<{ requestId: string; actor: string }>) => sql`
  with ended as (
    update otp_requests set ${setState('cancelled', 'superseded')}
    where id = ${p.requestId} and state = 'pending' returning id, app_id, audit_seq, signal_due_at
  ), logged as (${auditFrom(sql`ended`, {
    type: 'cancelled',
    actor: p.actor,
    detail: { reason: 'superseded' },
  })})
  select signal_due_at as "dueAt" from ended`,
)

/** Ends a request in whose place another one comes. @returns when its run is to be told, if it was live */
export const supersedeLive = async (
  tx: Queries,
  given: { requestId: string; actor: string },
): Promise<Date | undefined> => (await tx.one(supersedeStatement(given)))?.dueAt ?? undefined

const replayedStatement = statement(
  'read_replayed',
  LiveRow.extend({ appId: z.string(), ended: z.boolean() }),
  (p: Named<{ requestId: string }>) => sql`
  select ${liveColumns(sql`null::text`)}, app_id as "appId", state <> 'pending' as ended
  from otp_requests r where id = ${p.requestId}`,
)

/** What a send is answered with whose key was used before; it may be over. */
export const readReplayed = (tx: Queries, requestId: string) =>
  tx.one(replayedStatement({ requestId }))

const joinedStatement = statement(
  'note_joined',
  NoRow,
  (p: Named<{ requestId: string; actor: string; channel: Channel }>) => sql`
  with joined as (
    update otp_requests set audit_seq = audit_seq + 1 where id = ${p.requestId}
    returning id, app_id, audit_seq
  ) ${auditFrom(sql`joined`, {
    type: 'repeated',
    actor: p.actor,
    detail: sql`jsonb_build_object('channel', ${p.channel}::text, 'joined', true)`,
  })}`,
)

/** Writes down that a page waits for the code of a live request without a message of its own. */
export async function noteJoined(
  tx: Queries,
  given: { requestId: string; actor: string; channel: Channel },
): Promise<void> {
  await tx.many(joinedStatement(given))
}
