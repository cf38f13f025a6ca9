import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { globalIndex, globalIndexes } from '../../codes/seal'
import { type RateLimit, usualMessageCap, usualProtection } from '../../core/protection/protection'
import { pacing, resendAfterSeconds } from '../../core/limits'
import { domainOf, limitKeyOf } from '../../core/protection/mailbox'
import { type Environment, isLive } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import { domainWindow, isVouchedFor } from './email-domains'
import { columnsOf, messageWindowOf, sharedWait } from './message-window'

/** What may be had of the windows of one send; a part that is absent is not asked. */
export interface SendLimits {
  /** Sends to the recipient, resends included. */
  recipient: readonly RateLimit[]
  /** Messages to the number, or to the mailbox, over all apps: a send only asks for room, its claims take it. */
  messages: readonly RateLimit[]
  /** E-mails to a domain that no code has come back from of late, over all apps. */
  domain?: readonly RateLimit[] | undefined
  /** The end user's network, and a wider one that holds it, as keyed digests. */
  ip?: readonly { digest: string; limits: readonly RateLimit[] }[] | undefined
  /** What the caller gave in `rate_limit_keys`, as keyed digests. */
  keys?: readonly { name: string; digest: string; limits: readonly RateLimit[] }[] | undefined
  /** Sends for pages keep growing pauses. */
  isPaced?: boolean | undefined
}

/** What holds where no policy is at hand. */
export const usualSendLimits: SendLimits = {
  recipient: usualProtection.limits.recipient,
  messages: usualMessageCap,
}

export type SendLimitKind = 'recipient' | 'messages' | 'domain' | 'ip' | 'key' | 'pacing'

export interface LimitedSend {
  app: string
  environment: Environment
  recipientId: string
  /** E.164 with `+`; absent for e-mail. */
  number?: string | undefined
  /** The address of an e-mail. */
  email?: string | undefined
  limits: SendLimits
}

/** Which limit leaves no room, and for how long. */
export interface Limited {
  limit: SendLimitKind
  /** Of `rate_limit_keys`. */
  key?: string | undefined
  retryAfterSeconds: number
}

/** The send is in all of its windows, at this time: as text, since a Date would drop its microseconds. */
export interface Taken {
  at: string
  /** Until the next one, where sends are paced. */
  pauseSeconds?: number | undefined
}

/** More than the pauses let anybody have: they are what is asked. */
const mostPaced = 1_000

/** A row of `send_windows`, and what it may hold. */
interface Window {
  kind: SendLimitKind
  key?: string
  name: string
  /** What it was called under keys that are being replaced: that counts too. */
  before: string[]
  recipientId: string | null
  limits: readonly RateLimit[]
  /** By how many sends are behind one: the pause before it. */
  pauses: readonly number[]
  /** Of a window that holds messages: the app that asks for room. It is counted when its message is claimed. */
  owner?: string
}

/** The windows as rows: those that a send is to be counted in, and their names in the recipient's, for giving it back. */
const wantedIn = (rows: SQL): SQL => sql`wanted as materialized (
    select q.*, array(select t from ${earlierOf} order by t, p) as earlier,
      array(select p from ${earlierOf} order by t, p) as earlier_partners
    from jsonb_to_recordset(${rows}::jsonb) as q (place integer, kind text, name text, before text[], recipient_id text,
      maxima integer[], seconds integer[], pauses integer[], longest integer, partners text, owner text)
    where not (kind = 'domain' and ${isVouchedFor(sql`q.name`, sql`q.before`)}))`

const earlierOf = sql`send_windows o cross join unnest(o.sends, o.partners) as held (t, p) where o.name = any(q.before)`

/** Seconds until the window `w`, as `q` wants it, has room for one more: 0 when it has. */
const wait = sql`case when q.owner is null
  then send_window_wait(w.sends || q.earlier, q.maxima, q.seconds, q.pauses, moment)
  else ${sharedWait({
    sends: sql`w.sends || q.earlier`,
    owners: sql`w.partners || q.earlier_partners`,
    owner: sql`q.owner`,
    maxima: sql`q.maxima`,
    seconds: sql`q.seconds`,
    moment: sql`moment`,
  })} end`

const clockAt = (at: SQL): SQL =>
  sql`clock as materialized (select coalesce(${at}::timestamptz, clock_timestamp()) as moment)`

const takeOfWindows = statement(
  'take_limits',
  z.strictObject({
    at: z.string(),
    taken: z.array(z.string()),
    wanted: z.int(),
    sends: z.int().nullable(),
  }),
  (
    p: Named<{ rows: string; environment: Environment; at: string | null; pacing: string | null }>,
  ) => sql`
  with ${clockAt(p.at)}, ${wantedIn(p.rows)}, taken as (
    insert into send_windows as w (name, recipient_id, environment, sends, partners, expires_at)
    select q.name, q.recipient_id, ${p.environment}::key_environment,
      case when q.owner is null then array[moment] else '{}' end,
      case when q.owner is null then array[q.partners] else '{}' end, moment + make_interval(secs => q.longest)
    from wanted q, clock
    -- A flood must not queue for a row, with a connection each: most of it sees this first.
    where not exists (select from wanted q left join send_windows w on w.name = q.name where ${wait} > 0)
    -- As everybody does: two sends never wait for each other.
    order by q.place
    on conflict (name) do update set
      (sends, partners) = (
        select coalesce(array_agg(t order by n), '{}') || excluded.sends,
          coalesce(array_agg(coalesce(p, '') order by n), '{}') || excluded.partners
        from wanted q, clock, unnest(w.sends, w.partners) with ordinality as held (t, p, n)
        where q.name = w.name and t > moment - make_interval(secs => q.longest)),
      expires_at = greatest(w.expires_at, excluded.expires_at)
    where (select ${wait} from wanted q, clock where q.name = w.name) = 0
    returning w.name, cardinality(w.sends) as sends)
  select moment::text as at, array(select name from taken) as taken,
    (select count(*)::int from wanted) as wanted, (select sends from taken where name = ${p.pacing}) as sends
  from clock`,
)

/**
 * Takes one send of all its sliding windows, in one statement, so that parallel sends cannot share one. Holds the
 * windows until the transaction ends, the recipient's first: sends to one recipient happen one after the other.
 * Whoever is told of a limit must roll back: the windows with room have counted it.
 * @param at the time to go by; the database's when absent
 */
export async function takeLimits(
  tx: Queries,
  keyring: Keyring,
  send: LimitedSend,
  at?: Date,
): Promise<Taken | Limited> {
  const windows = windowsOf(keyring, send)
  const row = await tx.one(
    takeOfWindows({
      rows: rowsOf(windows),
      environment: send.environment,
      at: at?.toISOString() ?? null,
      pacing: windows.find(({ kind }) => kind === 'pacing')?.name ?? null,
    }),
  )
  if (!row) throw new Error('A statement without a condition gave no row.')
  if (row.taken.length === row.wanted)
    return {
      at: row.at,
      ...(row.sends !== null && { pauseSeconds: resendAfterSeconds(row.sends) }),
    }
  return whyFull(tx, windows, row.taken, at)
}

const findFullWindow = statement(
  'find_full_window',
  z.strictObject({}),
  (p: Named<{ rows: string }>) => sql`
  with ${clockAt(sql`null`)}, ${wantedIn(p.rows)}
  select from clock, wanted q left join send_windows w on w.name = q.name where ${wait} > 0 limit 1`,
)

/**
 * Whether a limit leaves no room for a send as things are now. Nothing is counted and nothing is held: who goes on takes
 * the limits all the same.
 * @param except limits that are not asked
 */
export async function isOverLimits(
  db: Queries,
  keyring: Keyring,
  send: LimitedSend,
  except: readonly SendLimitKind[] = [],
): Promise<boolean> {
  const windows = windowsOf(keyring, send).filter(({ kind }) => !except.includes(kind))
  const full = await db.one(findFullWindow({ rows: rowsOf(windows) }))
  return full !== undefined
}

const findLongestWait = statement(
  'find_longest_wait',
  z.strictObject({ name: z.string(), seconds: z.int() }),
  (p: Named<{ rows: string; at: string | null }>) => sql`
  with ${clockAt(p.at)}, ${wantedIn(p.rows)}
  select q.name, greatest(ceil(${wait}), 1)::int as seconds
  from clock, wanted q left join send_windows w on w.name = q.name order by ${wait} desc, q.place limit 1`,
)

/** The limit that leaves no room for the longest, of those that did not count the send. */
async function whyFull(
  tx: Queries,
  windows: readonly Window[],
  taken: readonly string[],
  at: Date | undefined,
): Promise<Limited> {
  const full = windows.filter(({ name }) => !taken.includes(name))
  const longest = await tx.one(
    findLongestWait({ rows: rowsOf(full), at: at?.toISOString() ?? null }),
  )
  const { kind, key } = full.find(({ name }) => name === longest?.name) ?? { kind: 'recipient' }
  return {
    limit: kind,
    ...(key !== undefined && { key }),
    retryAfterSeconds: longest?.seconds ?? 1,
  }
}

function rowsOf(windows: readonly Window[]): string {
  const partners = windows
    .slice(1)
    .filter(({ owner }) => owner === undefined)
    .map(({ name }) => name)
    .join(' ')
  return JSON.stringify(
    windows.map(({ kind, name, before, recipientId, limits, pauses, owner }, place) => ({
      ...{ place, kind, name, before, pauses, owner },
      recipient_id: recipientId,
      ...columnsOf(limits),
      longest: Math.max(...limits.map(({ seconds }) => seconds)),
      partners: place === 0 ? partners : '',
    })),
  )
}

/** Windows of what an address is at, under the active key and those before it. */
function windowsNamed(keyring: Keyring, value: string, nameOf: (index: Buffer) => string) {
  const name = nameOf(globalIndex(keyring, value))
  const all = globalIndexes(keyring, value).map(nameOf)
  return { name, before: all.filter((other) => other !== name) }
}

const mailboxWindow = (app: string, environment: Environment) => (index: Buffer) =>
  `mailbox|${environment}|${app}|${index.toString('hex')}`

/** The names, under every known key, of the windows that an app's mails to the mailbox of an address are counted in. */
export const mailboxWindows = (
  keyring: Keyring,
  { app, environment, email }: { app: string; environment: Environment; email: string },
): string[] =>
  globalIndexes(keyring, limitKeyOf({ kind: 'email', value: email })).map(
    mailboxWindow(app, environment),
  )

const addressOf = ({ number, email }: LimitedSend) => {
  if (number !== undefined) return { kind: 'phone', value: number } as const
  return email === undefined ? undefined : ({ kind: 'email', value: email } as const)
}

/** The recipient's own window first; the others by name. */
function windowsOf(keyring: Keyring, send: LimitedSend): Window[] {
  const { app, environment, recipientId, email, limits } = send
  const plain = { before: [], recipientId: null, pauses: [] }
  const mine = { ...plain, recipientId }
  const others: Window[] = (limits.keys ?? []).map(({ name: key, digest, limits }) => ({
    ...{ ...plain, kind: 'key', key, limits },
    name: `key|${environment}|${app}|${key}|${digest}`,
  }))
  const address = addressOf(send)
  // Nothing that a test key sends reaches anybody.
  if (address && isLive(environment)) {
    const named = messageWindowOf(keyring, environment, address)
    others.push({ ...plain, ...named, kind: 'messages', limits: limits.messages, owner: app })
  }
  if (email !== undefined) {
    const mailbox = limitKeyOf({ kind: 'email', value: email })
    const named = windowsNamed(keyring, mailbox, mailboxWindow(app, environment))
    others.push({ ...plain, ...named, kind: 'recipient', limits: limits.recipient })
    if (limits.domain) {
      const domain = windowsNamed(keyring, domainOf(mailbox), domainWindow(environment))
      others.push({ ...plain, ...domain, kind: 'domain', limits: limits.domain })
    }
  }
  for (const network of limits.ip ?? []) {
    const name = `ip|${environment}|${app}|${network.digest}`
    others.push({ ...plain, kind: 'ip', name, limits: network.limits })
  }
  if (limits.isPaced) {
    const name = `pacing|${environment}|${recipientId}`
    const span = [{ max: mostPaced, seconds: pacing.windowSeconds }]
    others.push({ ...mine, kind: 'pacing', name, limits: span, pauses: pacing.pauses })
  }
  const name = `recipient|${environment}|${recipientId}`
  return [
    { ...mine, kind: 'recipient', name, limits: limits.recipient },
    ...others.sort((one, other) => (one.name < other.name ? -1 : 1)),
  ]
}
