import { sql } from 'drizzle-orm'
import { deriveCode } from '../../codes/code'
import type { Keyring } from '../../codes/keyring'
import { sealedIn, unseal } from '../../codes/seal'
import type { Alphabet } from '../../core/alphabet'
import { messageText, type OwnTemplate } from '../../core/message/text'
import type { Speech } from '../../providers/provider'
import { templateFor } from '../apps/templates'
import type { Queries } from '../index'
import { findAttemptById, findAttemptByMessage, type ReportedAttempt } from './receipts'

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

interface SpokenRow {
  locale: string
  brand: string
  salt: Buffer
  codeKid: string
  codeGeneration: number
  codeLength: number
  codeAlphabet: Alphabet
  messageCiphertext: Buffer | null
  sealKid: string | null
  lifetimeSeconds: number
  template: OwnTemplate | null
}

/** What a call of this attempt says, while its request lives; undefined when there is nothing to say any more. */
export async function findSpokenCode(
  db: Queries,
  keyring: Keyring,
  { id, requestId, channel }: ReportedAttempt,
): Promise<Speech | undefined> {
  if (channel !== 'voice') return undefined
  const row = await db.one<SpokenRow>(sql`
    select r.locale, r.brand, ${templateFor(sql`r`, 'voice')} as template, r.code_salt as salt, r.code_kid as "codeKid", r.code_generation as "codeGeneration",
      r.code_length as "codeLength", r.code_alphabet as "codeAlphabet",
      r.message_ciphertext as "messageCiphertext", r.seal_kid as "sealKid",
      round(extract(epoch from r.expires_at - r.created_at))::int as "lifetimeSeconds"
    from otp_requests r join attempts a on a.request_id = r.id
    where a.id = ${id} and r.state = 'pending' and r.expires_at > now()`)
  if (!row) return undefined
  const { messageCiphertext: ciphertext, sealKid: kid } = row
  const code = deriveCode(keyring, {
    requestId,
    generation: row.codeGeneration,
    kid: row.codeKid,
    salt: row.salt,
    length: row.codeLength,
    alphabet: row.codeAlphabet,
  })
  const message =
    ciphertext && kid
      ? unseal(keyring, { ciphertext, kid }, sealedIn.message(requestId))
      : undefined
  return messageText({ ...row, channel, message, template: row.template ?? undefined, code })
}
