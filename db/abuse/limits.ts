import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { globalIndex, globalIndexes } from '../../codes/seal'
import { type RateLimit, usualMessageCap, usualProtection } from '../../core/abuse/protection'
import { pacing, resendAfterSeconds } from '../../core/limits'
import { domainOf, limitKeyOf } from '../../core/mailbox'
import type { Environment } from '../../core/state'
import type { Queries } from '../index'
import { domainWindow, isVouchedFor } from './email-domains'
import { momentOf } from './moment'

/** What may be had of the windows of one send; a part that is absent is not asked. */
export interface SendLimits {
  /** Sends to the recipient, resends included. */
  recipient: readonly RateLimit[]
  /** Messages to the number over all apps. */
  messages: readonly RateLimit[]
  /** E-mails to a domain that no code has come back from of late, over all apps. */
  domain?: readonly RateLimit[] | undefined
  /** The end user's network, as a keyed digest. */
  ip?: { digest: string; limits: readonly RateLimit[] } | undefined
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
}

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
  const wanted = wantedFrom(windows)
  const row = await tx.one<{
    at: string
    taken: string[]
    wanted: number
    sends: number | null
  }>(sql`
    with clock as materialized (select ${momentOf(at)} as moment), ${wanted}, taken as (
      insert into send_windows as w (name, recipient_id, environment, sends, partners, expires_at)
      select q.name, q.recipient_id, ${send.environment}::key_environment, array[moment], array[q.partners],
        moment + make_interval(secs => q.longest)
      from wanted q, clock
      -- A flood must not queue for a row, with a connection each: most of it sees this first.
      where not exists (select from wanted q left join send_windows w on w.name = q.name
        where send_window_wait(w.sends || q.earlier, q.maxima, q.seconds, q.pauses, moment) > 0)
      -- As everybody does: two sends never wait for each other.
      order by q.place
      on conflict (name) do update set
        (sends, partners) = (
          select coalesce(array_agg(t order by n), '{}') || excluded.sends,
            coalesce(array_agg(coalesce(p, '') order by n), '{}') || excluded.partners
          from wanted q, clock, unnest(w.sends, w.partners) with ordinality as held (t, p, n)
          where q.name = w.name and t > moment - make_interval(secs => q.longest)),
        expires_at = greatest(w.expires_at, excluded.expires_at)
      where (select send_window_wait(w.sends || q.earlier, q.maxima, q.seconds, q.pauses, moment)
        from wanted q, clock where q.name = w.name) = 0
      returning w.name, cardinality(w.sends) as sends)
    select moment::text as at, array(select name from taken) as taken,
      (select count(*)::int from wanted) as wanted,
      (select sends from taken where name = ${windows.find(({ kind }) => kind === 'pacing')?.name ?? null}) as sends
    from clock`)
  if (!row) throw new Error('A statement without a condition gave no row.')
  if (row.taken.length === row.wanted)
    return {
      at: row.at,
      ...(row.sends !== null && { pauseSeconds: resendAfterSeconds(row.sends) }),
    }
  return whyFull(tx, windows, row.taken, at)
}

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
  const full = await db.one(sql`
    with ${wantedFrom(windows)}
    select from wanted q left join send_windows w on w.name = q.name
    where send_window_wait(w.sends || q.earlier, q.maxima, q.seconds, q.pauses, now()) > 0 limit 1`)
  return full !== undefined
}

/** The limit that leaves no room for the longest, of those that did not count the send. */
async function whyFull(
  tx: Queries,
  windows: readonly Window[],
  taken: readonly string[],
  at: Date | undefined,
): Promise<Limited> {
  const full = windows.filter(({ name }) => !taken.includes(name))
  const wait = await tx.one<{ name: string; seconds: number }>(sql`
    with clock as materialized (select ${momentOf(at)} as moment), ${wantedFrom(full)}
    select q.name, greatest(ceil(wait), 1)::int as seconds
    from clock, wanted q left join send_windows w on w.name = q.name
      cross join lateral send_window_wait(w.sends || q.earlier, q.maxima, q.seconds, q.pauses, moment) as wait
    order by wait desc, q.place limit 1`)
  const { kind, key } = full.find(({ name }) => name === wait?.name) ?? { kind: 'recipient' }
  return {
    limit: kind,
    ...(key !== undefined && { key }),
    retryAfterSeconds: wait?.seconds ?? 1,
  }
}

/** The windows as rows: those that a send is to be counted in, and their names in the recipient's, for giving it back. */
function wantedFrom(windows: readonly Window[]) {
  const partners = windows
    .slice(1)
    .map(({ name }) => name)
    .join(' ')
  const rows = windows.map(({ name, before, recipientId, limits, pauses }, place) => ({
    place,
    name,
    before,
    recipient_id: recipientId,
    maxima: limits.map(({ max }) => max),
    seconds: limits.map(({ seconds }) => seconds),
    pauses,
    longest: Math.max(...limits.map(({ seconds }) => seconds)),
    partners: place === 0 ? partners : '',
  }))
  const hasDomain = windows.some(({ kind }) => kind === 'domain')
  return sql`wanted as materialized (
    select q.*, array(select t from send_windows o cross join unnest(o.sends) t where o.name = any(q.before)) as earlier
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as q (place integer, name text, before text[],
      recipient_id text, maxima integer[], seconds integer[], pauses integer[], longest integer, partners text)
    ${hasDomain ? sql`where not ${isVouchedFor(sql`q.name`, sql`q.before`)}` : sql``})`
}

/** The name of the window that counts messages to a number over all apps, by its global index. */
export const messageWindow = (environment: Environment, index: Buffer): string =>
  `messages|${environment}|${index.toString('hex')}`

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

/** The recipient's own window first; the others by name. */
function windowsOf(keyring: Keyring, send: LimitedSend): Window[] {
  const { app, environment, recipientId, number, email, limits } = send
  const plain = { before: [], recipientId: null, pauses: [] }
  const mine = { ...plain, recipientId }
  const others: Window[] = (limits.keys ?? []).map(({ name: key, digest, limits }) => ({
    ...{ ...plain, kind: 'key', key, limits },
    name: `key|${environment}|${app}|${key}|${digest}`,
  }))
  if (number !== undefined) {
    const named = windowsNamed(keyring, number, (index) => messageWindow(environment, index))
    others.push({ ...plain, ...named, kind: 'messages', limits: limits.messages })
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
  if (limits.ip) {
    const name = `ip|${environment}|${app}|${limits.ip.digest}`
    others.push({ ...plain, kind: 'ip', name, limits: limits.ip.limits })
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
