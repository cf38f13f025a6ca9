import { sql } from 'drizzle-orm'
import { type CodeSeed, deriveCode } from '../../codes/code'
import { openKeyFile } from '../../codes/key-file'
import { createDatabase, type Queries } from '../../db'
import { createApp } from '../../db/apps/apps'
import { claimAttempt, type NewClaim } from '../../db/delivery/claim'
import { checkCode } from '../../db/verify/checks'
import { askNext, askResend } from '../../db/requests/commands'
import { openRequest, type SendDecision } from '../../db/requests/sends'
import { markStarted } from '../../db/requests/starts'
import { freshDatabase } from './database'
import { sendInput, tempKeyFile } from './seed'

let claims = 0
/** A claim by an account that reaches nobody: the first of a plan that begins with SMS. */
export const newClaim = (requestId: string, given: Partial<NewClaim> = {}): NewClaim => ({
  ...{ requestId, sendNo: 1, firstSendNo: 1, step: 0, tryNo: 1, resendSeq: 0, runId: 'run' },
  ...{ channel: 'sms', provider: 'sandbox-a', isTestAccount: true, isMessage: false },
  listDigests: [],
  callbackDigest: Buffer.from(`${requestId}${++claims}`),
  ...given,
})

type Opened = Extract<SendDecision, { requestId: string }>

/** A database of its own, and requests in it, without Temporal: what the statements alone decide. */
export async function requestsOnly(keyring = openKeyFile(tempKeyFile(), { strict: true })) {
  const { url, adminUrl, drop } = await freshDatabase()
  const db = createDatabase(url)
  await createApp(db, { id: 'app', name: 'Acme' })
  const owner = { appId: 'app', environment: 'staging' as const }
  let lastNumber = 10_000_000
  const freshNumber = () => ({ kind: 'phone' as const, value: `+23324${++lastNumber}` })

  const openUnstarted = async (given: Parameters<typeof sendInput>[0] = {}): Promise<Opened> => {
    const input = sendInput({ recipient: freshNumber(), ...given })
    const decision = await openRequest(db, keyring, input)
    if (!('requestId' in decision)) throw new Error(`not opened: ${decision.outcome}`)
    return decision
  }

  return {
    url,
    adminUrl,
    db,
    keyring,
    owner,
    freshNumber,
    openUnstarted,
    open: async (given: Parameters<typeof sendInput>[0] = {}): Promise<Opened> => {
      const opened = await openUnstarted(given)
      await markStarted(db, opened.requestId, 'run')
      return opened
    },
    next: (wish: Parameters<typeof askNext>[2]) => askNext(db, keyring, wish),
    resend: (wish: Parameters<typeof askResend>[2]) => askResend(db, keyring, wish),
    claim: async (requestId: string, given: Partial<NewClaim> = {}, within: Queries = db) => {
      const claim = await claimAttempt(within, newClaim(requestId, given))
      if (claim.verdict === 'over') return undefined
      if (claim.verdict !== 'claimed') throw new Error(claim.verdict)
      return claim
    },
    /** Records that a resend was asked for, by the first step, so that a claim may serve it. */
    askedAgain: async (requestId: string): Promise<number> => {
      const row = await db.one<{ seq: number }>(sql`
        update otp_requests set resend_seq = resend_seq + 1, resend_step = plan -> 0 where id = ${requestId}
        returning resend_seq as seq`)
      if (!row) throw new Error('no row')
      return row.seq
    },
    codeOf: async (requestId: string): Promise<string> => {
      const row = await db.one<Omit<CodeSeed, 'requestId'>>(
        sql`select code_salt as salt, code_kid as kid, code_generation as generation, code_length as length,
          code_alphabet as alphabet from otp_requests where id = ${requestId}`,
      )
      if (!row) throw new Error('no row')
      return deriveCode(keyring, { requestId, ...row })
    },
    stateOf: (requestId: string) =>
      db.one<{ state: string; reason: string | null }>(
        sql`select state, reason from otp_requests where id = ${requestId}`,
      ),
    check: (requestId: string, code: string) =>
      checkCode(db, keyring, { ...owner, by: { requestId }, code, actor: 'test' }),
    /** Makes a request older, and its end nearer. */
    shiftTime: (requestId: string, seconds: number) =>
      db.many(sql`update otp_requests set created_at = created_at - make_interval(secs => ${seconds}),
        expires_at = expires_at - make_interval(secs => ${seconds}) where id = ${requestId}`),
    close: async () => {
      keyring.close()
      await db.close()
      await drop()
    },
  }
}
