import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { placesInBlock } from '../../codes/scope-digest'
import { scopesOf } from '../../core/protection/scopes'
import { memory } from '../../core/protection/standing'
import { environments } from '../../core/requests/state'
import type { Queries } from '..'
import { mailboxWindows } from './limits'
import { type MessageAddress, messageWindowsOf } from './message-window'
import { type Named, NoRow, statement } from '../statement'

const forgetDecisionsStatement = statement(
  'forget_decisions',
  NoRow,
  (p: Named<{ recipientIds: readonly string[] }>) => sql`
    update send_decisions set recipient_id = null, scopes = null, place = null
    where request_id in (select id from otp_requests where recipient_id = any(${p.recipientIds}::text[]))
      and (recipient_id is not null or scopes is not null or place is not null)`,
)

/** Takes away what leads from decisions to these recipients: that it was they, and where their number lies. */
export async function forgetDecisions(tx: Queries, recipientIds: readonly string[]): Promise<void> {
  await tx.many(forgetDecisionsStatement({ recipientIds }))
}

const forgetPlaceStatement = statement(
  'forget_place',
  NoRow,
  (p: Named<{ names: string[]; places: number[] }>) => sql`
    with held as (
      select name from send_standings where name = any(${p.names}::text[]) order by name collate "C" for update
    )
    update send_standings s set places = array(select p from unnest(s.places) p where p <> all(${p.places}::integer[]))
    from held where s.name = held.name`,
)

/**
 * Takes a number's place out of the last ones of its block: together with the key file, and the name of the block, it
 * would be the number.
 */
export async function forgetPlace(
  tx: Queries,
  keyring: Keyring,
  { number, apps }: { number: string; apps: readonly string[] },
): Promise<void> {
  const blocks = apps.flatMap((app) =>
    environments.flatMap((environment) =>
      scopesOf({ app, environment, number, country: null }).filter(({ kind }) => kind === 'block'),
    ),
  )
  const names = [...new Set(blocks.map(({ name }) => name))]
  await tx.many(forgetPlaceStatement({ names, places: placesInBlock(keyring, number) }))
}

const holdWindows = statement(
  'hold_message_windows',
  z.strictObject({}),
  (p: Named<{ names: string[] }>) => sql`
  select from send_windows where name = any(${p.names}::text[]) order by name for update`,
)

const deleteWindows = statement(
  'delete_send_windows',
  NoRow,
  (p: Named<{ names: string[] }>) => sql`
  delete from send_windows where name = any(${p.names}::text[])`,
)

/** The windows that count the messages to an address over all apps, held: before requests, as a claim locks them. */
export async function holdMessages(
  tx: Queries,
  keyring: Keyring,
  address: MessageAddress,
): Promise<void> {
  await tx.many(holdWindows({ names: messageWindowsOf(keyring, address) }))
}

/** Forgets how many messages of all apps an address got of late. */
export async function forgetMessages(
  tx: Queries,
  keyring: Keyring,
  address: MessageAddress,
): Promise<void> {
  await tx.many(deleteWindows({ names: messageWindowsOf(keyring, address) }))
}

/** Forgets how many mails of apps the mailbox of an address got of late. */
export async function forgetMailbox(
  tx: Queries,
  keyring: Keyring,
  { email, apps }: { email: string; apps: readonly string[] },
): Promise<void> {
  const names = apps.flatMap((app) =>
    environments.flatMap((environment) => mailboxWindows(keyring, { app, environment, email })),
  )
  await tx.many(deleteWindows({ names }))
}

/** A count below this is none. */
const nothing = 0.01
/** What nobody was sent to for so long is not known any more, whatever it was known for. */
const forgottenDays = 90
/** Nothing fades to nothing sooner. */
const freshSeconds = 3_600

const isNone = (count: string, memorySeconds: number): SQL =>
  sql.raw(`faded_count(${count}, date_part('epoch', now()) - at, ${memorySeconds}) < ${nothing}`)

/** A row of `send_standings` that says nothing any more. */
export const isFaded = sql`at < date_part('epoch', now()) - ${sql.raw(String(freshSeconds))} and (
  at < date_part('epoch', now() - interval '${sql.raw(String(forgottenDays))} days')
  or (${isNone('pending', memory.pending)} and ${isNone('passed', memory.passed)} and ${isNone('failed', memory.day)}
    and ${isNone('passed_day', memory.day)} and ${isNone('passed_ever', memory.ever)}))`

/** The last block of a place goes when it can make no next one longer, and nobody asks after it. */
export const isOldBlock = sql`least(until, coalesce(lifted_at, until)) < now() - interval '30 days'`
