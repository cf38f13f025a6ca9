import { sql } from 'drizzle-orm'
import { deriveCode } from '../../codes/code'
import type { Keyring } from '../../codes/keyring'
import { globalIndex, globalIndexes } from '../../codes/seal'
import type { Alphabet } from '../../core/alphabet'
import type { Queries } from '../index'
import type { ReportedAttempt } from './receipts'

/** Lets a number dial for its code as long as the request lives. */
export async function openUssdWindow(
  db: Queries,
  keyring: Keyring,
  { attemptId, phoneNumber }: { attemptId: string; phoneNumber: string },
): Promise<void> {
  await db.many(sql`
    insert into ussd_windows (attempt_id, request_id, provider, global_index, expires_at)
    select a.id, r.id, a.provider, ${globalIndex(keyring, phoneNumber)}, r.expires_at
    from attempts a join otp_requests r on r.id = a.request_id
    -- Held, so that an erasure either comes first and ends the request, or finds this row.
    where a.id = ${attemptId} and r.state = 'pending' for share of r
    on conflict (attempt_id) do nothing`)
}

interface WaitingCode extends ReportedAttempt {
  salt: Buffer
  codeKid: string
  codeGeneration: number
  codeLength: number
  codeAlphabet: Alphabet
}

/** The code that waits for a dialling number at this account, if its request is still live. */
export async function findDialledCode(
  db: Queries,
  keyring: Keyring,
  { provider, phoneNumber }: { provider: string; phoneNumber: string },
): Promise<{ attempt: ReportedAttempt; code: string } | undefined> {
  const row = await db.one<WaitingCode>(sql`
    select a.id, a.request_id as "requestId", r.app_id as "appId", r.recipient_id as "recipientId",
      a.number, a.step, a.channel, a.provider, a.success, true as open,
      r.code_salt as salt, r.code_kid as "codeKid", r.code_generation as "codeGeneration", r.code_length as "codeLength",
      r.code_alphabet as "codeAlphabet"
    from ussd_windows w join attempts a on a.id = w.attempt_id join otp_requests r on r.id = w.request_id
    where w.global_index in ${globalIndexes(keyring, phoneNumber)} and w.provider = ${provider}
      and w.expires_at > now() and r.state = 'pending' and r.expires_at > now()
    order by a.claimed_at desc limit 1`)
  if (!row) return undefined
  const { salt, codeKid, codeGeneration, codeLength, codeAlphabet, ...attempt } = row
  const code = deriveCode(keyring, {
    requestId: row.requestId,
    generation: codeGeneration,
    kid: codeKid,
    salt,
    length: codeLength,
    alphabet: codeAlphabet,
  })
  return { attempt, code }
}
