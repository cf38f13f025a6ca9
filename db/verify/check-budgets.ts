import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { checkBudget } from '../../core/limits'
import { type Environment, environments } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import { type Address, findRecipient } from '../recipients/recipients'

const { challenged, daily, hourly, pause } = checkBudget

/** Wrong checks of the last hour, of the budget `b`. */
const inTheLastHour = sql`(select count(*)::int from unnest(b.wrong) t
  where t > now() - make_interval(secs => ${hourly.windowSeconds}))`

/** Seconds until the n-th wrong check from the end leaves the window; null with fewer than n. */
const untilLeft = ({ max, windowSeconds }: { max: number; windowSeconds: number }): SQL =>
  sql`extract(epoch from b.wrong[array_upper(b.wrong, 1) - ${max - 1}] - now()) + ${windowSeconds}`

/**
 * Seconds until the budget `b` takes a check without a challenge; 0 when it does now. Over the hourly limit each
 * wrong check doubles the pause after it; over the daily one the oldest has to leave.
 */
export const secondsToWait: SQL = sql`ceil(greatest(0, ${untilLeft(daily)},
  case when ${inTheLastHour} >= ${hourly.max} then
    extract(epoch from b.wrong[array_upper(b.wrong, 1)] - now())
      + least(${pause.maxSeconds}, ${pause.firstSeconds} * 2 ^ least(${inTheLastHour} - ${hourly.max}, 20))
  end))::int`

/** Seconds until the budget `b` takes a check with a solved challenge; 0 when it does now. */
export const secondsToWaitChallenged: SQL = sql`ceil(greatest(0, ${untilLeft(challenged)}))::int`

/** Whether nobody but an operator lets the budget `b` be checked again. */
export const isLockedForGood: SQL = sql`b.consecutive >= ${checkBudget.consecutive}`

/** The wrong checks of the budget `b` that still count. */
export const stillCounted: SQL = sql`array(select t from unnest(b.wrong) with ordinality u(t, n)
  where t > now() - make_interval(secs => ${daily.windowSeconds}) order by n)`

/**
 * Counts a wrong check of the recipient of `locked` (`recipient_id`, `environment`) that its code does not count; gives
 * whether it `uses_up` the last of the consecutive ones.
 */
export const noteWrong = sql`
  insert into check_budgets as b (recipient_id, environment, wrong, consecutive)
  select recipient_id, environment, array[clock_timestamp()], 1 from locked
  on conflict (recipient_id, environment) do update set wrong = ${stillCounted} || excluded.wrong,
    consecutive = b.consecutive + 1
  returning consecutive = ${checkBudget.consecutive} as uses_up`

/** Whether a budget holds nothing that still counts. */
export const isForgotten: SQL = sql`consecutive = 0
  and coalesce(wrong[array_upper(wrong, 1)], '-infinity') < now() - make_interval(secs => ${daily.windowSeconds})`

const unlockStatement = statement(
  'unlock_budget',
  z.strictObject({ environment: z.enum(environments) }),
  (p: Named<{ recipientId: string; within: readonly Environment[] }>) => sql`
    update check_budgets set wrong = '{}', consecutive = 0
    where recipient_id = ${p.recipientId} and environment::text = any(${p.within}::text[]) and not (${isForgotten})
    returning environment`,
)

/**
 * Forgets the wrong checks of a recipient, in every environment when none is named: an operator's way out of a lock.
 * The caller audits it.
 * @returns false when there is nothing to forget, or no such recipient
 */
export async function unlockBudget(
  db: Queries,
  keyring: Keyring,
  address: Address,
  within: readonly Environment[] = environments,
): Promise<boolean> {
  const recipient = await findRecipient(db, keyring, address)
  if (!recipient) return false
  const reset = await db.many(unlockStatement({ recipientId: recipient.id, within }))
  return reset.length > 0
}
