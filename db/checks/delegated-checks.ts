import { sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import { auditFrom } from '../audit/entry'
import type { Queries } from '../index'
import { isLockedForGood, secondsToWait } from './check-budgets'

/** A code that a provider made, and whom to ask about it. */
export interface DelegatedCode {
  provider: string
  channel: Channel
}

/** How long a check is its provider's, in seconds: longer than the provider is given. */
const holdSeconds = 5

export interface TakenCheck {
  recipientId: string
  codes: DelegatedCode[]
}

/**
 * Takes one check to hand to the providers that made codes for this request: counted before it is made, one at a time,
 * and only where the code is open and the recipient's budget has room.
 * @returns undefined when there is nothing to hand on; `busy` while another check is with a provider
 */
export async function takeDelegatedCheck(
  db: Queries,
  {
    requestId,
    actor,
    solvedChallenge,
  }: { requestId: string; actor: string; solvedChallenge: boolean },
): Promise<TakenCheck | 'busy' | undefined> {
  const row = await db.one<{
    recipientId: string
    codes: DelegatedCode[] | null
    busy: boolean
  }>(sql`
    with open as materialized (
      select r.id, r.recipient_id, r.max_checks from otp_requests r
      left join check_budgets b on b.recipient_id = r.recipient_id and b.environment = r.environment
      where r.id = ${requestId} and r.state = 'pending' and r.checks < r.max_checks and r.expires_at > now()
        and (b.recipient_id is null
          or (not (${isLockedForGood}) and (${solvedChallenge}::boolean or ${secondsToWait} = 0)))
      for no key update of r
    ), taken as (
      -- What decides stands in the row that is written, so that it is read anew once the wait for the request is over.
      update delegated_codes d set forwarded = d.forwarded + 1,
        checking_until = clock_timestamp() + make_interval(secs => ${holdSeconds})
      from open where d.request_id = open.id and d.expires_at > now() and d.forwarded < open.max_checks
        and (d.checking_until is null or d.checking_until <= clock_timestamp())
      returning d.request_id, d.provider, d.channel
    ), counted as (
      update otp_requests r set audit_seq = audit_seq + 1 where r.id in (select request_id from taken)
      returning r.id, r.app_id, r.audit_seq
    ), logged as (${auditFrom(sql`counted`, {
      type: 'check_forwarded',
      actor,
      detail: sql`jsonb_build_object('providers', (select string_agg(provider, ', ' order by provider) from taken))`,
    })})
    select open.recipient_id as "recipientId",
      (select jsonb_agg(jsonb_build_object('provider', provider, 'channel', channel)) from taken) as codes,
      exists (select from delegated_codes d where d.request_id = open.id
        and d.expires_at > now() and d.forwarded < open.max_checks) as busy
    from open`)
  if (row?.codes) return { recipientId: row.recipientId, codes: row.codes }
  return row?.busy ? 'busy' : undefined
}

/** The providers have answered: the next check may be handed to them. */
export async function releaseDelegatedCheck(db: Queries, requestId: string): Promise<void> {
  await db.many(
    sql`update delegated_codes set checking_until = null where request_id = ${requestId}`,
  )
}

/** No provider answered: the check is given back, and that is written down. */
export async function giveBackDelegatedCheck(
  db: Queries,
  { requestId, actor }: { requestId: string; actor: string },
): Promise<void> {
  await db.many(sql`
    with locked as (
      select id from otp_requests where id = ${requestId} for no key update
    ), given_back as (
      update delegated_codes d set forwarded = greatest(d.forwarded - 1, 0), checking_until = null
      from locked where d.request_id = locked.id returning d.request_id
    ), told as (
      update otp_requests r set audit_seq = audit_seq + 1 where r.id in (select request_id from given_back)
      returning r.id, r.app_id, r.audit_seq
    ) ${auditFrom(sql`told`, {
      type: 'check_refused',
      actor,
      detail: { error_code: 'SERVICE_UNAVAILABLE' },
    })}`)
}
