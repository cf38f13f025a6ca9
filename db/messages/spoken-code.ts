import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { messageText, type OwnTemplate } from '../../core/messages/text'
import type { Speech } from '../../providers/provider'
import { templateFor } from './templates'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import { codeColumns, codeIn, codeShape, messageIn } from '../requests/code-row'
import { findAttemptById, findAttemptByMessage, type ReportedAttempt } from '../delivery/receipts'

/** The attempt that a connected call is about. */
export async function findVoiceAttempt(
  db: Queries,
  {
    provider,
    attemptId,
    providerMessageId: messageId,
  }: { provider: string; attemptId?: string | undefined; providerMessageId?: string | undefined },
): Promise<ReportedAttempt | undefined> {
  const byId = attemptId && (await findAttemptById(db, { provider, attemptId }))
  if (byId) return byId
  return messageId === undefined ? undefined : findAttemptByMessage(db, { provider, messageId })
}

const spokenStatement = statement(
  'find_spoken_code',
  z.strictObject({
    locale: z.string(),
    brand: z.string(),
    template: z.custom<OwnTemplate>().nullable(),
    ...codeShape,
    messageCiphertext: z.instanceof(Buffer).nullable(),
    sealKid: z.string().nullable(),
    /** What is left of it: a phone may have rung for a while, and a call may be a later message. */
    lifetimeSeconds: z.int(),
  }),
  (p: Named<{ id: string }>) => sql`
  select r.locale, r.brand, ${templateFor(sql`r`, 'voice')} as template, ${codeColumns(sql`r`)},
    r.message_ciphertext as "messageCiphertext", r.seal_kid as "sealKid",
    ceil(extract(epoch from r.expires_at - now()))::int as "lifetimeSeconds"
  from otp_requests r join attempts a on a.request_id = r.id
  where a.id = ${p.id} and r.state = 'pending' and r.expires_at > now()`,
)

/** What a call of this attempt says, while its request lives; undefined when there is nothing to say any more. */
export async function findSpokenCode(
  db: Queries,
  keyring: Keyring,
  { id, requestId, channel }: ReportedAttempt,
): Promise<Speech | undefined> {
  if (channel !== 'voice') return undefined
  const row = await db.one(spokenStatement({ id }))
  if (!row) return undefined
  const code = codeIn(keyring, requestId, row)
  const message = messageIn(keyring, requestId, row)
  return messageText({ ...row, channel, message, template: row.template ?? undefined, code })
}
