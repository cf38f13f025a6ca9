import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { receiptStatuses } from '../../core/delivery/receipt'
import type { Wake } from '../../core/requests/wake'
import { type AttemptAnswer, recordAnswer } from './attempts'
import { holdName, inTransaction } from '../hold'
import type { Database, Queries } from '..'
import { type Named, statement } from '../statement'
import {
  findAttemptByMessage,
  type MessageRef,
  type NewReceipt,
  type RecordedReceipt,
  recordReceipt,
} from './receipts'

/** How long a report waits for the attempt that it is about. */
export const unmatchedKeptFor = sql`interval '24 hours'`

/**
 * Makes whoever reports about a message and whoever learns its id wait for each other until the transaction ends:
 * without it each could look before the other commits. Before any row is locked, so that nobody waits crosswise.
 */
const holdMessage = (tx: Queries, { provider, messageId }: MessageRef) =>
  holdName(tx, `${provider}|${messageId}`)

/**
 * Records a report that names a message by its provider's id. Where no attempt is known to have sent it yet, the
 * report is kept for {@link recordAcceptance}, unless it answers what we `asked` about a message of ours: that one was
 * erased meanwhile, and its id must not come back.
 */
export function recordByMessage(
  db: Queries,
  {
    message,
    receipt,
    actor,
    asked = false,
  }: { message: MessageRef; receipt: NewReceipt; actor: string; asked?: boolean },
): Promise<RecordedReceipt> {
  return inTransaction(db, async (tx) => {
    await holdMessage(tx, message)
    const attempt = await findAttemptByMessage(tx, message)
    if (attempt) return recordReceipt(tx, { attempt, receipt, actor })
    if (asked) return { duplicate: false }
    const { status, rawStatus, eventKey, at, cost, code } = receipt
    const kept = await tx.one(
      keepStatement({
        ...{ provider: message.provider, messageId: message.messageId },
        ...{ eventKey, status, rawStatus, code: code ?? null, at: at ?? null },
        ...{ amount: cost?.amount ?? null, currency: cost?.currency ?? null },
      }),
    )
    return { duplicate: kept === undefined }
  })
}

const EarlyRow = z.strictObject({
  status: z.enum(receiptStatuses),
  rawStatus: z.string(),
  eventKey: z.string(),
  code: z.string().nullable(),
  at: z.date().nullable(),
  amount: z.string().nullable(),
  currency: z.string().nullable(),
  receivedAt: z.date(),
})

type Kept = MessageRef & Omit<z.infer<typeof EarlyRow>, 'receivedAt'>

const keepStatement = statement(
  'keep_unmatched_receipt',
  z.strictObject({ provider: z.string() }),
  (p: Named<Kept>) => sql`
  insert into unmatched_receipts (provider, event_key, provider_message_id, status, raw_status, provider_code,
    provider_at, cost_amount, cost_currency, received_at)
  values (${p.provider}, ${p.eventKey}, ${p.messageId}, ${p.status}, ${p.rawStatus}, ${p.code},
    ${p.at}::timestamptz, ${p.amount}::numeric, ${p.currency}, clock_timestamp())
  on conflict (provider, event_key) do nothing returning provider`,
)

const takeEarly = statement(
  'take_early_receipts',
  EarlyRow,
  (p: Named<MessageRef>) => sql`
  with early as (
    delete from unmatched_receipts u
    where provider = ${p.provider} and provider_message_id = ${p.messageId}
      and exists (select from attempts a
        where a.provider = u.provider and a.provider_message_id = u.provider_message_id)
    returning *
  ) select status, raw_status as "rawStatus", event_key as "eventKey", provider_code as code,
    provider_at as at,
    cost_amount::text as amount, cost_currency as currency, received_at as "receivedAt"
  from early order by received_at, event_key`,
)

/**
 * Writes down that a provider took a message and, in the same transaction, what the provider reported about it before
 * we knew its id: each report once, in the order in which they came.
 * @returns what to tell the run after the commit
 */
export function recordAcceptance(
  db: Database,
  ref: Parameters<typeof recordAnswer>[1],
  { provider, answer }: { provider: string; answer: AttemptAnswer & { state: 'accepted' } },
): Promise<Wake[]> {
  const { providerMessageId: messageId } = answer
  if (messageId === null) return recordAnswer(db, ref, answer).then(() => [])
  const message = { provider, messageId }
  return db.transaction(async (tx) => {
    await holdMessage(tx, message)
    await recordAnswer(tx, ref, answer)
    return join(tx, message)
  })
}

async function join(tx: Queries, message: MessageRef): Promise<Wake[]> {
  const early = await tx.many(takeEarly(message))
  if (early.length === 0) return []
  const attempt = await findAttemptByMessage(tx, message)
  if (!attempt) throw new Error('An attempt vanished while its reports were joined.')
  const wakes: Wake[] = []
  for (const { at, amount, currency, code, ...report } of early) {
    const cost = amount !== null && currency !== null ? { amount, currency } : undefined
    const receipt = { ...report, at: at ?? undefined, cost, code: code ?? undefined }
    const { wake } = await recordReceipt(tx, {
      attempt,
      receipt,
      actor: `provider:${message.provider}`,
    })
    if (wake) wakes.push(wake)
  }
  return wakes
}
