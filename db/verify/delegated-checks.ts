import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { channels } from '../../core/channel'
import { checkBudget } from '../../core/limits'
import { auditFrom } from '../audit/entry'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'
import { isLockedForGood, noteWrong, secondsToWait, secondsToWaitChallenged } from './check-budgets'

const DelegatedCode = z.strictObject({ provider: z.string(), channel: z.enum(channels) })

/** A code that a provider made, and whom to ask about it. */
export type DelegatedCode = z.infer<typeof DelegatedCode>

/** How long a check is its provider's, in seconds: longer than the provider is given. */
const holdSeconds = 5

/**
 * Of `delegated_codes d`, for the request `open`: its provider may be asked. One that refused to make a code has none,
 * or an older one that was made for another request. Each page adds as many checks as it has of its own: else a stranger's
 * wrong ones would leave none for the owner of the number.
 */
const canTell = sql`d.expires_at > now() and d.forwarded < open.max_checks * (1 + open.pages)
  and exists (select from attempts a where a.request_id = d.request_id and a.provider = d.provider
    and a.delegated and a.state <> 'refused')`

export interface TakenCheck {
  recipientId: string
  codes: DelegatedCode[]
}

interface Handing {
  requestId: string
  page: string | null
  actor: string
  right: boolean
  solvedChallenge: boolean
}

const takeStatement = statement(
  'take_delegated_check',
  z.strictObject({
    recipientId: z.string(),
    codes: z.array(DelegatedCode).nullable(),
    busy: z.boolean(),
  }),
  (p: Named<Handing>) => sql`
    with open as materialized (
      select r.id, r.recipient_id, r.max_checks,
        (select count(*) from page_requests o where o.request_id = r.id) as pages
      from otp_requests r
      left join check_budgets b on b.recipient_id = r.recipient_id and b.environment = r.environment
      left join page_requests p on p.id = ${p.page}::text
      where r.id = ${p.requestId} and r.state = 'pending' and r.expires_at > now()
        and coalesce(p.checks, r.checks) < r.max_checks and p.ended_at is null
        and (b.recipient_id is null or (not (${isLockedForGood}) and (${secondsToWait} = 0
          or (${p.solvedChallenge}::boolean and ${secondsToWaitChallenged} = 0))))
      for no key update of r
    ), taken as (
      -- What decides stands in the row that is written, so that it is read anew once the wait for the request is over.
      update delegated_codes d set forwarded = d.forwarded + (not ${p.right}::boolean)::int,
        checking_until = clock_timestamp() + make_interval(secs => ${holdSeconds})
      from open where d.request_id = open.id and ${canTell}
        and (d.checking_until is null or d.checking_until <= clock_timestamp())
      returning d.request_id, d.provider, d.channel
    ), counted as (
      update otp_requests r set audit_seq = audit_seq + 1
      where not ${p.right}::boolean and r.id in (select request_id from taken)
      returning r.id, r.app_id, r.audit_seq
    ), logged as (${auditFrom(sql`counted`, {
      type: 'check_forwarded',
      actor: p.actor,
      detail: sql`jsonb_build_object('providers', (select string_agg(provider, ', ' order by provider) from taken))`,
    })})
    select open.recipient_id as "recipientId",
      -- After a change of keys, a code that was made again has two rows.
      (select jsonb_agg(distinct jsonb_build_object('provider', provider, 'channel', channel)) from taken) as codes,
      exists (select from delegated_codes d where d.request_id = open.id and ${canTell}) as busy
    from open`,
)

/**
 * Takes one check to hand to the providers that made codes for this request: counted before it is made, one at a time,
 * and only where the code is open and the recipient's budget has room. A `right` one of ours has to take its turn as
 * well, though it is not handed on: else whatever gets no turn, and so is not counted, would be known to be wrong.
 * @returns undefined when there is nothing to hand on; `busy` while another check is with a provider
 */
export async function takeDelegatedCheck(
  db: Queries,
  { requestId, page, actor, right, solvedChallenge }: Handing,
): Promise<TakenCheck | 'busy' | undefined> {
  const row = await db.one(takeStatement({ requestId, page, actor, right, solvedChallenge }))
  if (row?.codes) return { recipientId: row.recipientId, codes: row.codes }
  return row?.busy ? 'busy' : undefined
}

const releaseStatement = statement(
  'release_delegated_check',
  NoRow,
  (p: Named<{ requestId: string }>) =>
    sql`update delegated_codes set checking_until = null where request_id = ${p.requestId}`,
)

/** The providers have answered: the next check may be handed to them. */
export async function releaseDelegatedCheck(db: Queries, requestId: string): Promise<void> {
  await db.many(releaseStatement({ requestId }))
}

const giveBackStatement = statement(
  'give_back_delegated_check',
  NoRow,
  (p: Named<{ requestId: string; page: string | null; silent: string[]; actor: string }>) => sql`
    with locked as (
      select id, recipient_id, environment from otp_requests
      where id = ${p.requestId} and state = 'pending' for no key update
    ), given_back as (
      update delegated_codes d set checking_until = null,
        forwarded = greatest(d.forwarded - (d.provider = any(${p.silent}::text[]))::int, 0)
      from locked where d.request_id = locked.id
    ), noted as (${noteWrong}
    ), of_page as (
      update page_requests p set unanswered = unanswered + 1
      where p.id = ${p.page}::text and p.request_id in (select id from locked)
    ), told as (
      update otp_requests r set audit_seq = audit_seq + 1 + uses_up::int,
        unanswered = unanswered + (${p.page}::text is null)::int
      from noted where r.id in (select id from locked)
      returning r.id, r.app_id, r.audit_seq, uses_up
    ), entries as (
      select id, app_id, audit_seq - uses_up::int as audit_seq, 'check_refused'::audit_type as type,
        '{"error_code": "SERVICE_UNAVAILABLE"}'::jsonb as detail from told
      union all
      select id, app_id, audit_seq, 'budget_locked',
        jsonb_build_object('consecutive', ${checkBudget.consecutive}::int) from told where uses_up
    ) ${auditFrom(sql`entries`, { type: sql`type`, actor: p.actor, detail: sql`detail` })}`,
)

/**
 * These providers did not answer: they get the check back, and that is written down. The recipient's budget and our own
 * code do not: it was compared with that, and in an outage every guess at it would be free. So our code is good for no
 * more than its checks, whatever the providers are silent about; theirs is still checked when they speak again.
 */
export async function giveBackDelegatedCheck(
  db: Queries,
  {
    requestId,
    page,
    silent,
    actor,
  }: { requestId: string; page: string | null; silent: readonly string[]; actor: string },
): Promise<void> {
  await db.many(giveBackStatement({ requestId, page, silent: [...silent], actor }))
}
