import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { globalIndexes } from '../../codes/seal'
import type { Wake } from '../../core/wake'
import {
  forgetDecisions,
  forgetMailbox,
  forgetMessages,
  forgetPlace,
  holdMessages,
} from '../abuse/forget-sends'
import { auditAdmin, auditFrom } from '../audit/entry'
import { endingOverdue, setState } from '../requests/ending'
import { forgetNumber } from '../abuse/forget-number'
import {
  type Addressee,
  holdRecipients,
  isKnownAnywhere,
  spellingsOfAddress,
} from './held-recipients'
import { type Database, despiteLocks, type Queries } from '../index'
import { eventKeyIn } from '../attempts/receipts'
import { servedIn } from '../requests/region'

export interface Erased {
  recipients: number
  requests: number
  /** To be sent after the commit. */
  wakes: Wake[]
}

/** What a row names instead of a key once there is nothing left to open. */
const noKey = 'erased'

/**
 * Forgets an address, a number under each of its spellings: its rows stay as numbers of things that happened, with nothing that leads back to it. Live
 * requests end. One transaction; the audit rows that tell of it hold no address, and none that was there is touched.
 * Locks are taken in the order of a send: recipient, window, requests.
 */
export const eraseRecipient = (
  db: Database,
  keyring: Keyring,
  { actor, ...addressee }: Addressee & { actor: string },
): Promise<Erased> =>
  despiteLocks(() => db.transaction((tx) => erase(tx, keyring, addressee, actor)))

async function erase(
  tx: Queries,
  keyring: Keyring,
  addressee: Addressee,
  actor: string,
): Promise<Erased> {
  const spelled = spellingsOfAddress(addressee).map((value) => ({ ...addressee, value }))
  const spellings = spelled.map(({ value }) => value)
  const held = await holdRecipients(tx, keyring, { ...addressee, spellings })
  const apps = held.map(({ appId }) => appId)
  const ids = held.map(({ id }) => id)
  const dialled =
    addressee.kind === 'phone' ? spellings.flatMap((each) => globalIndexes(keyring, each)) : []
  await tx.many(sql`delete from send_windows where recipient_id = any(${sql.param(ids)})`)
  await holdMessages(tx, keyring, addressee)
  const wakes = await endLive(tx, ids, actor)
  const requests = await forgetRequests(tx, ids, actor)
  await forgetDecisions(tx, ids)
  if (addressee.kind === 'phone')
    for (const number of spellings) await forgetPlace(tx, keyring, { number, apps })
  // After the requests: a check holds its request, then takes of the budget.
  await forgetHabits(tx, ids)
  await shred(tx, ids)
  if (dialled.length > 0 && addressee.appId === undefined) {
    await tx.many(
      sql`delete from ussd_windows where global_index in ${dialled} ${ofServed(addressee)}`,
    )
    await tx.many(sql`delete from ussd_dials where global_index in ${dialled}`)
  }
  for (const each of spelled) await forgetNumber(tx, keyring, each)
  if (addressee.kind === 'email') await forgetMailbox(tx, keyring, { email: addressee.value, apps })
  // Counted over all apps: it stays as long as another one knows the address.
  if (!(await isKnownAnywhere(tx, keyring, { ...addressee, spellings })))
    await forgetMessages(tx, keyring, addressee)
  await noteErasure(tx, { held, requests, actor, appId: addressee.appId })
  return { recipients: held.length, requests: requests.length, wakes }
}

const ofServed = ({ servedBy }: Addressee) =>
  servedBy
    ? sql`and request_id in (select id from otp_requests where ${servedIn(servedBy.region)})`
    : sql``

/** Takes a recipient's address away for good. The caller holds the rows. */
export async function shred(tx: Queries, ids: readonly string[]): Promise<void> {
  await tx.many(sql`
    update recipients set index = uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), ciphertext = null,
      kid = ${noKey}, index_kid = ${noKey}, erased_at = clock_timestamp()
    where id = any(${sql.param(ids)}) and erased_at is null`)
}

const habits = [
  sql`send_windows`,
  sql`check_budgets`,
  sql`preferences`,
  sql`opt_outs`,
  sql`recipient_verifications`,
]

/** Removes what is kept about a recipient itself: when it was written to and came back, what it prefers or wants no more. */
export async function forgetHabits(tx: Queries, ids: readonly string[]): Promise<void> {
  for (const table of habits)
    await tx.many(sql`delete from ${table} where recipient_id = any(${sql.param(ids)})`)
}

async function endLive(tx: Queries, ids: readonly string[], actor: string): Promise<Wake[]> {
  const which = sql`recipient_id = any(${sql.param(ids)})`
  await tx.many(endingOverdue(which, actor))
  const ended = await tx.many<{ requestId: string; dueAt: Date | null }>(sql`
    with ended as (
      update otp_requests set ${setState('cancelled', 'erased')}
      where ${which} and state = 'pending'
      returning id, app_id, audit_seq, signal_due_at
    ), logged as (${auditFrom(sql`ended`, { type: 'cancelled', actor, detail: { reason: 'erased' } })})
    select id as "requestId", signal_due_at as "dueAt" from ended`)
  return ended.flatMap(({ requestId, dueAt }) =>
    dueAt ? [{ requestId, dueAt, signal: 'cancelled' as const }] : [],
  )
}

interface ErasedRequest {
  id: string
  appId: string
}

/** Removes what a caller or a provider said about the recipients' requests; the requests themselves stay. */
async function forgetRequests(
  tx: Queries,
  recipientIds: readonly string[],
  actor: string,
): Promise<ErasedRequest[]> {
  const requests = await tx.many<ErasedRequest>(sql`
    with emptied as (
      update otp_requests set erased = true, message_ciphertext = null, metadata_ciphertext = null, seal_kid = null,
        audit_seq = audit_seq + 1
      where recipient_id = any(${sql.param(recipientIds)})
      returning id, app_id, audit_seq
    ), logged as (${auditFrom(sql`emptied`, { type: 'erased', actor })})
    select id, app_id as "appId" from emptied`)
  const theirs = sql`request_id = any(${sql.param(requests.map(({ id }) => id))})`
  await forgetMessageIds(tx, theirs)
  for (const table of erasedTables) await tx.many(sql`delete from ${table} where ${theirs}`)
  return requests
}

const erasedTables = [
  sql`request_contexts`,
  sql`ussd_windows`,
  sql`delegated_codes`,
  sql`idempotency_keys`,
  sql`page_requests`,
]

/** Removes what leads from these attempts to messages at their providers, and so to the number. */
async function forgetMessageIds(tx: Queries, which: SQL): Promise<void> {
  await tx.many(sql`update receipts set event_key = ${eventKeyIn(sql`true`, sql`event_key`)}
    where attempt_id in (select id from attempts where ${which})`)
  await tx.many(sql`update attempts set provider_message_id = null
    where ${which} and provider_message_id is not null`)
}

/** For recipients whose time is over: what providers know their messages by goes now, and is not kept later. */
export async function forgetProviderIds(
  tx: Queries,
  recipientIds: readonly string[],
): Promise<void> {
  const emptied = await tx.many<{ id: string }>(sql`
    update otp_requests set erased = true
    where recipient_id = any(${sql.param(recipientIds)}) and not erased returning id`)
  const theirs = sql`request_id = any(${sql.param(emptied.map(({ id }) => id))})`
  await forgetMessageIds(tx, theirs)
  await tx.many(sql`delete from page_requests where ${theirs}`)
}

/** One row in the trail of every app that knew the address; what an operator asked for, in that of the installation. */
async function noteErasure(
  tx: Queries,
  {
    held,
    requests,
    actor,
    appId,
  }: {
    held: readonly { appId: string }[]
    requests: readonly ErasedRequest[]
    actor: string
    appId: string | undefined
  },
): Promise<void> {
  const apps = appId === undefined ? [...new Set(held.map((row) => row.appId))].sort() : [appId]
  for (const app of apps) {
    const of = (rows: readonly { appId: string }[]) =>
      rows.filter((row) => row.appId === app).length
    const detail = { recipients: of(held), requests: of(requests) }
    await tx.many(auditAdmin({ appId: app, type: 'erased', actor, detail }))
  }
  if (appId !== undefined) return
  const detail = { recipients: held.length, requests: requests.length }
  await tx.many(auditAdmin({ appId: null, type: 'erased', actor, detail }))
}
