import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { globalIndex, globalIndexes } from '../../codes/seal'
import {
  heededBlocks,
  type MessageGuard,
  type MessageWindow,
} from '../../core/protection/message-guard'
import { reachesNobody } from '../../core/protection/number'
import { messageShare, type RateLimit } from '../../core/protection/protection'
import type { RecipientKind } from '../../core/channel'
import { limitKeyOf } from '../../core/protection/mailbox'
import type { Plan } from '../../core/requests/plan'
import { type Environment, environments, isLive } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'

// The window that counts the messages to one number, or one mailbox, over all apps. Beside the time of each message it
// holds the app that sent it (`partners`), so that no app can use up what is kept for another.

/** Whom messages are counted for. */
export interface MessageAddress {
  kind: RecipientKind
  value: string
}

const nameOf = (environment: Environment, index: Buffer): string =>
  `messages|${environment}|${index.toString('hex')}`

/** The window's name, and what it was called under keys that are being replaced. */
export function messageWindowOf(
  keyring: Keyring,
  environment: Environment,
  address: MessageAddress,
): Pick<MessageWindow, 'name' | 'before'> {
  const key = limitKeyOf(address)
  const name = nameOf(environment, globalIndex(keyring, key))
  const all = globalIndexes(keyring, key).map((index) => nameOf(environment, index))
  return { name, before: all.filter((other) => other !== name) }
}

/** Every window that an address may have. */
export const messageWindowsOf = (keyring: Keyring, address: MessageAddress): string[] =>
  globalIndexes(keyring, limitKeyOf(address)).flatMap((index) =>
    environments.map((environment) => nameOf(environment, index)),
  )

/** Limits as the columns of a window. */
export const columnsOf = (
  limits: readonly RateLimit[],
): Pick<MessageWindow, 'maxima' | 'seconds'> => ({
  maxima: limits.map(({ max }) => max),
  seconds: limits.map(({ seconds }) => seconds),
})

/** Seconds until a window has room for one more message of an app: 0 when it has. */
export const sharedWait = (window: {
  sends: SQL
  owners: SQL
  owner: SQL
  maxima: SQL
  seconds: SQL
  moment: SQL
}): SQL => sql`shared_window_wait(${window.sends}, ${window.owners}, ${window.owner}, ${window.maxima},
  ${window.seconds}, ${messageShare.max}, ${messageShare.seconds}, ${window.moment})`

const listIn = (list: SQL): SQL => sql`array(select jsonb_array_elements_text(${list}))`

/**
 * The same for a request.
 * @param counter what the window's row is called
 * @param request with the columns `guard`, `app_id` and `moment`
 */
export function messageWait(counter: SQL, request: SQL): SQL {
  const window = sql`${request}.guard -> 'window'`
  const before = (column: SQL) => sql`array(select ${column} from send_windows o
    cross join unnest(o.sends, o.partners) as held (t, p)
    where o.name = any(${listIn(sql`${window} -> 'before'`)}) order by t, p)`
  return sharedWait({
    sends: sql`${counter}.sends || ${before(sql`t`)}`,
    owners: sql`${counter}.partners || ${before(sql`p`)}`,
    owner: sql`${request}.app_id`,
    maxima: sql`${listIn(sql`${window} -> 'maxima'`)}::int[]`,
    seconds: sql`${listIn(sql`${window} -> 'seconds'`)}::int[]`,
    moment: sql`${request}.moment`,
  })
}

/**
 * The insert that counts a message.
 * @param from with the columns `guard`, `environment`, `app_id` and `moment`, which will be the entry's
 */
export const countMessageFrom = (from: SQL): SQL => sql`
  insert into send_windows as w (name, environment, sends, partners, expires_at)
  select guard -> 'window' ->> 'name', environment, array[moment], array[app_id], moment + make_interval(secs =>
    (select max(s::int) from jsonb_array_elements_text(guard -> 'window' -> 'seconds') s))
  from ${from} message
  on conflict (name) do update set expires_at = greatest(w.expires_at, excluded.expires_at), (sends, partners) = (
    select coalesce(array_agg(t order by n), '{}') || excluded.sends,
      coalesce(array_agg(coalesce(p, '') order by n), '{}') || excluded.partners
    from unnest(w.sends, w.partners) with ordinality as held (t, p, n)
    -- As long ago as it will be kept.
    where t > excluded.sends[1] - (excluded.expires_at - excluded.sends[1]))`

const countStatement = statement(
  'count_message',
  NoRow,
  (p: Named<{ guard: string; environment: Environment; app: string; at: Date }>) =>
    countMessageFrom(sql`(select ${p.guard}::jsonb as guard, ${p.environment}::key_environment as environment,
      ${p.app}::text as app_id, ${p.at}::timestamptz as moment)`),
)

/**
 * Counts a message, whether there is room for it or not. In the service it is the claim of its call that does this
 * (`claimAttempt`); this is for traffic that is replayed.
 * @param at the time to go by
 */
export async function countMessage(
  db: Queries,
  keyring: Keyring,
  message: {
    app: string
    environment: Environment
    recipient: MessageAddress
    limits: readonly RateLimit[]
  },
  at: Date,
): Promise<void> {
  const { app, environment, recipient, limits } = message
  const window = { ...messageWindowOf(keyring, environment, recipient), ...columnsOf(limits) }
  await db.many(countStatement({ guard: JSON.stringify({ window }), environment, app, at }))
}

/**
 * The update that takes a message out of its window again.
 * @param counter what the held window is called, with the columns `name` and `message_at`
 */
export const giveBackMessage = (counter: SQL, condition: SQL): SQL => sql`
  update send_windows w set (sends, partners) = (
    select coalesce(array_agg(t order by n), '{}'), coalesce(array_agg(coalesce(p, '') order by n), '{}')
    from unnest(w.sends, w.partners) with ordinality as held (t, p, n) where t <> ${counter}.message_at)
  from ${counter} where w.name = ${counter}.name and ${condition}`

/** What each message of a request is held against; null where none leaves. */
export function messageGuard(
  keyring: Keyring,
  send: Parameters<typeof heededBlocks>[0] & {
    environment: Environment
    recipient: MessageAddress
    plan: Plan
    limits: { messages: readonly RateLimit[] }
  },
): MessageGuard | null {
  const { environment, recipient, plan, limits, rules } = send
  if (reachesNobody(plan)) return null
  const window = {
    ...messageWindowOf(keyring, environment, recipient),
    ...columnsOf(limits.messages),
  }
  return {
    // Nothing that a test key sends reaches anybody.
    ...(isLive(environment) && { window }),
    blocks: heededBlocks(send),
    lists: rules.listed === undefined,
  }
}
