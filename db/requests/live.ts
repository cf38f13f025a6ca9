import { type SQL, sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import { alreadySendingSeconds } from '../../core/limits'
import type { Plan } from '../../core/plan'
import { instructionOf } from '../attempts/ussd'
import type { Queries } from '../index'
import type { Withdrawal } from '../recipients/consent'
import { channelInProgress } from './channel-in-progress'

/**
 * The live request, locked, and what is known of its recipient. Its attempts are read by a second statement: a claim that
 * the lock waited for is committed by then, and the first one would not see it.
 */
export async function lockLive(
  tx: Queries,
  same: SQL,
  { withdrawal, isKnown, target }: { withdrawal: SQL; isKnown: SQL; target: Channel | undefined },
): Promise<{ live?: LiveRow | undefined; withdrawal: Withdrawal | null; isKnown: boolean }> {
  const locked = await tx.one<{
    id: string | null
    withdrawal: Withdrawal | null
    isKnown: boolean
  }>(sql`
    select (select id from otp_requests where ${same} and state = 'pending' for update) as id,
      ${withdrawal} as withdrawal, ${isKnown} as "isKnown"`)
  if (!locked) throw new Error('A statement without a condition gave no row.')
  if (locked.id === null) return locked
  const live = await tx.one<LiveRow>(
    sql`select ${liveColumns(target)} from otp_requests r where id = ${locked.id}`,
  )
  return { ...locked, live }
}

export interface LiveRow {
  requestId: string
  plan: Plan
  country: string | null
  expiresAt: Date
  queued: boolean
  started: boolean
  sends: number
  /** The channel in progress. */
  channel: Channel
  instruction: string | null
  /** Some message was begun; a dial before the first of them is none. */
  everClaimed: boolean
  /** Any channel, in the last seconds. */
  recentlyClaimed: boolean
  /** The channel that this send is for, in the last seconds. */
  targetClaimed: boolean
  halfLifeGone: boolean
  /** Its time is over, and nobody has closed it yet. */
  overdue: boolean
}

const recently = sql`claimed_at > now() - make_interval(secs => ${alreadySendingSeconds})`

const targetOf = (target: Channel | undefined): SQL =>
  sql`coalesce(${target ?? null}, ${channelInProgress})`

export const liveColumns = (target: Channel | undefined): SQL => sql`
  r.id as "requestId", r.plan, r.country, r.expires_at as "expiresAt", r.queued, r.sends,
  r.workflow_started_at is not null as started,
  ${channelInProgress} as channel, ${instructionOf} as instruction,
  exists (select from attempts a where a.request_id = r.id and a.send_no > 0) as "everClaimed",
  exists (select from attempts a where a.request_id = r.id and ${recently}) as "recentlyClaimed",
  exists (select from attempts a where a.request_id = r.id and ${recently}
    and a.channel::text = ${targetOf(target)}) as "targetClaimed",
  r.expires_at - now() < (r.expires_at - r.created_at) / 2 as "halfLifeGone",
  r.expires_at <= now() as overdue`
