import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { globalIndexes } from '../../codes/seal'
import type { Wake } from '../../core/requests/wake'
import {
  forgetDecisions,
  forgetMailbox,
  forgetMessages,
  forgetPlace,
  holdMessages,
} from '../protection/forget-sends'
import { auditAdmin, auditFrom } from '../audit/entry'
import { endingOverdue, OverdueRow, setState } from '../requests/ending'
import { forgetNumber } from '../protection/forget-number'
import {
  type Addressee,
  holdRecipients,
  isKnownAnywhere,
  spellingsOfAddress,
} from './held-recipients'
import { type Database, despiteLocks, type Queries } from '../index'
import { eventKeyIn } from '../delivery/receipts'
import { servedIn } from '../requests/region'
import { IdRow, type Named, NoRow, statement } from '../statement'

export interface Erased {
  recipients: number
  requests: number
  /** To be sent after the commit. */
  wakes: Wake[]
}

/** What a row names instead of a key once there is nothing left to open. */
const noKey = 'erased'

interface RecipientIds {
  ids: readonly string[]
}

const forgetWindows = statement(
  'forget_windows_of_recipients',
  NoRow,
  (p: Named<RecipientIds>) => sql`
  delete from send_windows where recipient_id = any(${p.ids}::text[])`,
)

const forgetDialWindows = statement(
  'forget_ussd_windows',
  NoRow,
  (p: Named<{ digests: Buffer[]; isRegional: boolean; region: string | null }>) => sql`
  delete from ussd_windows where global_index = any(${p.digests}::bytea[])
    and (not ${p.isRegional}::boolean or request_id in (select id from otp_requests where ${servedIn(p.region)}))`,
)

const forgetDials = statement(
  'forget_ussd_dials',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from ussd_dials where global_index = any(${p.digests}::bytea[])`,
)

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
  await tx.many(forgetWindows({ ids }))
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
    const { servedBy } = addressee
    await tx.many(
      forgetDialWindows({
        digests: dialled,
        isRegional: servedBy !== undefined,
        region: servedBy?.region ?? null,
      }),
    )
    await tx.many(forgetDials({ digests: dialled }))
  }
  for (const each of spelled) await forgetNumber(tx, keyring, each)
  if (addressee.kind === 'email') await forgetMailbox(tx, keyring, { email: addressee.value, apps })
  // Counted over all apps: it stays as long as another one knows the address.
  if (!(await isKnownAnywhere(tx, keyring, { ...addressee, spellings })))
    await forgetMessages(tx, keyring, addressee)
  await noteErasure(tx, { held, requests, actor, appId: addressee.appId })
  return { recipients: held.length, requests: requests.length, wakes }
}

const shredStatement = statement(
  'shred_recipients',
  NoRow,
  (p: Named<RecipientIds>) => sql`
    update recipients set index = uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), ciphertext = null,
      kid = ${noKey}, index_kid = ${noKey}, erased_at = clock_timestamp()
    where id = any(${p.ids}::text[]) and erased_at is null`,
)

/** Takes a recipient's address away for good. The caller holds the rows. */
export async function shred(tx: Queries, ids: readonly string[]): Promise<void> {
  await tx.many(shredStatement({ ids }))
}

const forgetHabitStatements = [
  forgetWindows,
  ...['check_budgets', 'preferences', 'opt_outs', 'recipient_verifications'].map((table) =>
    statement(
      `forget_${table}`,
      NoRow,
      (p: Named<RecipientIds>) => sql`
      delete from ${sql.identifier(table)} where recipient_id = any(${p.ids}::text[])`,
    ),
  ),
]

/** Removes what is kept about a recipient itself: when it was written to and came back, what it prefers or wants no more. */
export async function forgetHabits(tx: Queries, ids: readonly string[]): Promise<void> {
  for (const forget of forgetHabitStatements) await tx.many(forget({ ids }))
}

const isTheirs = (p: Named<RecipientIds>) => sql`recipient_id = any(${p.ids}::text[])`

const endOverdueStatement = statement(
  'close_overdue_of_recipients',
  OverdueRow,
  (p: Named<RecipientIds & { actor: string }>) => endingOverdue(isTheirs(p), p.actor),
)

const endLiveStatement = statement(
  'cancel_live_of_recipients',
  z.strictObject({ requestId: z.string(), dueAt: z.date().nullable() }),
  (p: Named<RecipientIds & { actor: string }>) => sql`
    with ended as (
      update otp_requests set ${setState('cancelled', 'erased')}
      where ${isTheirs(p)} and state = 'pending'
      returning id, app_id, audit_seq, signal_due_at
    ), logged as (${auditFrom(sql`ended`, { type: 'cancelled', actor: p.actor, detail: { reason: 'erased' } })})
    select id as "requestId", signal_due_at as "dueAt" from ended`,
)

async function endLive(tx: Queries, ids: readonly string[], actor: string): Promise<Wake[]> {
  await tx.many(endOverdueStatement({ ids, actor }))
  const ended = await tx.many(endLiveStatement({ ids, actor }))
  return ended.flatMap(({ requestId, dueAt }) =>
    dueAt ? [{ requestId, dueAt, signal: 'cancelled' as const }] : [],
  )
}

const ErasedRequest = z.strictObject({ id: z.string(), appId: z.string() })
type ErasedRequest = z.infer<typeof ErasedRequest>

const eraseStatement = statement(
  'erase_requests',
  ErasedRequest,
  (p: Named<RecipientIds & { actor: string }>) => sql`
    with emptied as (
      update otp_requests set erased = true, message_ciphertext = null, metadata_ciphertext = null, seal_kid = null,
        audit_seq = audit_seq + 1
      where ${isTheirs(p)}
      returning id, app_id, audit_seq
    ), logged as (${auditFrom(sql`emptied`, { type: 'erased', actor: p.actor })})
    select id, app_id as "appId" from emptied`,
)

interface RequestIds {
  requestIds: readonly string[]
}

/** Removes the rows of a table that belong to requests. */
const forgetIn = (table: string) =>
  statement(
    `forget_${table}_of_requests`,
    NoRow,
    (p: Named<RequestIds>) => sql`
      delete from ${sql.identifier(table)} where request_id = any(${p.requestIds}::text[])`,
  )
const forgetPages = forgetIn('page_requests')
const forgetOfRequests = [
  ...['request_contexts', 'ussd_windows', 'delegated_codes', 'idempotency_keys'].map(forgetIn),
  forgetPages,
]

/** Removes what a caller or a provider said about the recipients' requests; the requests themselves stay. */
async function forgetRequests(
  tx: Queries,
  recipientIds: readonly string[],
  actor: string,
): Promise<ErasedRequest[]> {
  const requests = await tx.many(eraseStatement({ ids: recipientIds, actor }))
  const requestIds = requests.map(({ id }) => id)
  await forgetMessageIds(tx, requestIds)
  for (const forget of forgetOfRequests) await tx.many(forget({ requestIds }))
  return requests
}

const hideKeysStatement = statement(
  'hide_event_keys',
  NoRow,
  (p: Named<RequestIds>) => sql`
    update receipts set event_key = ${eventKeyIn(sql`true`, sql`event_key`)}
    where attempt_id in (select id from attempts where request_id = any(${p.requestIds}::text[]))`,
)

const forgetMessageIdsStatement = statement(
  'forget_message_ids',
  NoRow,
  (p: Named<RequestIds>) => sql`
    update attempts set provider_message_id = null
    where request_id = any(${p.requestIds}::text[]) and provider_message_id is not null`,
)

/** Removes what leads from these attempts to messages at their providers, and so to the number. */
async function forgetMessageIds(tx: Queries, requestIds: readonly string[]): Promise<void> {
  await tx.many(hideKeysStatement({ requestIds }))
  await tx.many(forgetMessageIdsStatement({ requestIds }))
}

const markErasedStatement = statement(
  'mark_requests_erased',
  IdRow,
  (p: Named<RecipientIds>) => sql`
    update otp_requests set erased = true where ${isTheirs(p)} and not erased returning id`,
)

/** For recipients whose time is over: what providers know their messages by goes now, and is not kept later. */
export async function forgetProviderIds(
  tx: Queries,
  recipientIds: readonly string[],
): Promise<void> {
  const emptied = await tx.many(markErasedStatement({ ids: recipientIds }))
  const requestIds = emptied.map(({ id }) => id)
  await forgetMessageIds(tx, requestIds)
  await tx.many(forgetPages({ requestIds }))
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
