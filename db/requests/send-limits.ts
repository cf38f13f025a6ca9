import { sql } from 'drizzle-orm'
import { sendLimits } from '../../core/limits'
import type { Environment } from '../../core/state'
import type { Queries } from '../index'

const [short, long] = sendLimits
const within = (seconds: number) =>
  sql`(select count(*) from unnest(w.sends) t where t > now() - make_interval(secs => ${seconds}))`
const hasRoom = sql`${within(short.windowSeconds)} < ${short.max} and ${within(long.windowSeconds)} < ${long.max}`

/**
 * Takes one send of the recipient's sliding windows, in one statement, so that parallel sends cannot share one.
 * Holds the recipient's row until the transaction ends: sends to one recipient happen one after the other.
 * @returns the time that marks the send (as text: a Date would drop its microseconds), or the seconds until one is free.
 */
export async function takeSend(
  db: Queries,
  recipientId: string,
  environment: Environment,
): Promise<{ at: string } | { retryAfterSeconds: number }> {
  const taken = await db.one<{ at: string }>(sql`
    insert into send_windows as w (recipient_id, environment, sends)
    select ${recipientId}, ${environment}::key_environment, array[clock_timestamp()]
    -- A flood for one recipient must not queue for its row, with a connection each: most of it sees this first.
    where not exists (select from send_windows w where w.recipient_id = ${recipientId}
      and w.environment = ${environment} and not (${hasRoom}))
    on conflict (recipient_id, environment) do update set sends =
      array(select t from unnest(w.sends) t where t > now() - make_interval(secs => ${long.windowSeconds}))
      || excluded.sends
    where ${hasRoom}
    returning sends[array_upper(sends, 1)]::text as at`)
  if (taken) return taken
  const wait = await db.one<{ seconds: number }>(sql`
    select ceil(greatest(
      extract(epoch from sends[array_upper(sends, 1) - ${short.max - 1}] - now()) + ${short.windowSeconds},
      extract(epoch from sends[array_upper(sends, 1) - ${long.max - 1}] - now()) + ${long.windowSeconds},
      1))::int as seconds from send_windows where recipient_id = ${recipientId} and environment = ${environment}`)
  return { retryAfterSeconds: wait?.seconds ?? short.windowSeconds }
}
