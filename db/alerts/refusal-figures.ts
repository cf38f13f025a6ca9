import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { RefusalFigures } from '../../core/alerts/provider-rules'
import { rankOf } from '../../core/delivery/receipt'
import type { Queries } from '..'
import { statement } from '../statement'

/** Of each account so many of its newest answers are looked at, and none that is older than a day. */
const lookedAt = 200
const reportWithinSeconds = 120

const Refusals = z.object({
  provider: z.string(),
  refusals: z.number(),
  code: z.string().nullable(),
  isAccounts: z.boolean(),
})

/**
 * How many of an account's newest messages were refused in a row, or reported as failed, with the newest one's code. A
 * message that was taken a moment ago and is still to be reported on says neither. Read from the attempts, newest first
 * by their index: of an account that is used little or much, the same few rows.
 */
const refusalsInARow = statement<{ accounts: string[]; at: Date | null }, RefusalFigures>(
  'refusals_in_a_row',
  Refusals,
  ({ accounts, at }) => sql`
  select named.provider, run.refusals, run.code, run.is_accounts as "isAccounts"
  from (select coalesce(${at}::timestamptz, clock_timestamp()) as now) clock
    cross join unnest(${accounts}::text[]) as named (provider)
    cross join lateral (
      with answers as (
        select a.state = 'refused' or a.status::text like 'failed%' as refused, a.provider_code as code,
          a.fault = 'config' or a.status = 'failed.config' as is_accounts, a.finished_at,
          a.state = 'accepted' and a.status_rank < ${rankOf['failed.retryable']} and a.success <> 'accepted'
            and a.finished_at > clock.now - make_interval(secs => ${reportWithinSeconds}) as is_open
        from attempts a
        where a.provider = named.provider and a.state in ('accepted', 'refused')
          and a.finished_at > clock.now - interval '24 hours' and a.finished_at <= clock.now
        order by a.finished_at desc limit ${lookedAt}
      ), decided as (
        select *, row_number() over (order by finished_at desc) as place from answers where not is_open
      ), newest as (
        select * from decided where place = 1
      ), other as (
        select coalesce(min(d.place), (select count(*) from decided) + 1) as place from decided d, newest n
        where not d.refused or d.code is distinct from n.code
      )
      select (select place - 1 from other)::int as refusals, n.code,
        coalesce((select bool_and(coalesce(d.is_accounts, false)) from decided d
          where d.place < (select place from other)), false) as is_accounts
      from newest n
    ) run
  order by named.provider`,
)

/** Of accounts that answered within a day. @param at the time to go by; the database's when absent */
export const readRefusals = (
  db: Queries,
  accounts: string[],
  at?: Date,
): Promise<RefusalFigures[]> => db.many(refusalsInARow({ accounts, at: at ?? null }))
