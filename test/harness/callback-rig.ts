import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks'
import { callbackToken } from '../../codes/random-id'
import { callbackDigest } from '../../codes/seal'
import type { Channel } from '../../core/channel'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import { claimAttempt } from '../../db/delivery/claim'
import { recordAcceptance } from '../../db/delivery/early-receipts'
import {
  ForgedCallback,
  type InboundCallback,
  type ProviderAccount,
} from '../../providers/provider'
import { storable } from '../../providers/storable'
import { clientOf, freshPhone, type TestClient } from './client'
import { startSystem, type System } from './system'

export const authToken = 'the-auth-token-of-this-test'
export const pathSecret = 'the-path-secret'
/** The service without a worker, its accounts `twilio` and `batching`; import it once at the top of a test file. */
export const rig = { lines: [] as string[] } as {
  system: System
  live: TestClient
  lines: string[]
}

/** A provider that reports in batches, echoes our reference, asks for a handshake and signs by a word. */
function batching(): ProviderAccount {
  const check = ({ headers, pathSecret: given }: InboundCallback) => {
    if (headers['x-word'] !== 'friend' && given !== pathSecret)
      throw new ForgedCallback('No friend.')
  }
  return storable({
    name: 'batching',
    adapter: 'batching',
    channels: ['sms'],
    test: false,
    sender: { send: () => Promise.reject(new Error('not used')) },
    receipts: {
      readReceipts(callback) {
        check(callback)
        const all = JSON.parse(callback.body.toString('utf8')) as {
          id: string
          attemptId?: string
          status: ReceiptStatus
        }[]
        return all.map(({ id, attemptId, status }) => ({
          ...{ status, attemptId, rawStatus: status },
          ...{ eventKey: `${id}:${status}`, providerMessageId: id },
        }))
      },
    },
    handshake: {
      answerHandshake(callback) {
        check(callback)
        const challenge = new URL(callback.url).searchParams.get('challenge') ?? ''
        return { contentType: 'text/plain', body: challenge }
      },
    },
  })
}

beforeAll(async () => {
  const log = pino({ level: 'trace' }, { write: (line: string) => void rig.lines.push(line) })
  rig.system = await startSystem({
    fakes: ['twilio'],
    variables: { TWILIO_AUTH_TOKEN: authToken },
    withWorker: false,
    log,
  })
  rig.system.accounts.set('batching', batching())
  rig.live = clientOf(rig.system, rig.system.liveKey)
})
afterAll(() => rig.system.stop())

export const newId = (kind: string) => kind + randomBytes(16).toString('hex')

/** A message that a provider took, and the address that it was given with it. */
export async function claimed({
  provider = 'twilio',
  channel = 'sms',
  answered = true,
}: { provider?: string; channel?: Channel; answered?: boolean } = {}) {
  const requestId = await rig.live.sent(freshPhone(), { channels: [channel] })
  // By whatever account the test is about.
  await rig.system.db.many(sql`update otp_requests
    set plan = jsonb_set(plan, '{0,providers}', ${JSON.stringify([provider])}::jsonb) where id = ${requestId}`)
  const token = callbackToken()
  const claim = await claimAttempt(rig.system.db, {
    requestId,
    ...{ sendNo: 1, firstSendNo: 1, step: 0, channel, provider, tryNo: 1, runId: 'run' },
    ...{ isTestAccount: false, isMessage: true, listDigests: [] },
    callbackDigest: callbackDigest(rig.system.keyring, token),
  })
  if (claim.verdict !== 'claimed') throw new Error(claim.verdict)
  const messageId = newId(channel === 'voice' ? 'CA' : 'SM')
  const { attemptId } = claim
  const ref = { requestId, attemptId, runId: 'run' }
  const answer = { state: 'accepted', providerMessageId: messageId } as const
  const accept = () => recordAcceptance(rig.system.db, ref, { provider, answer })
  if (answered) await accept()
  const path = `/webhooks/${provider}/${token}`
  return { requestId, attemptId, messageId, path, accept }
}

/** Of an accepted message that nothing was reported about. */
export const untold = 'accepted'
export const statusOf = async (attemptId: string) =>
  (
    await rig.system.db.one<{ status: string | null }>(
      sql`select status from attempts where id = ${attemptId}`,
    )
  )?.status ?? null
export const receiptsOf = (attemptId: string) =>
  rig.system.db.many<{ status: string; late: boolean }>(
    sql`select status, late from receipts where attempt_id = ${attemptId} order by id`,
  )
export const refusalsOf = async (requestId: string) =>
  (await rig.live.status(requestId)).events.filter(({ type }) => type === 'callback_refused')
export const accountRefusals = async (provider: string) =>
  (
    await rig.system.db.many(sql`select 1 from audit_events
      where type = 'callback_refused' and request_id is null and detail->>'provider' = ${provider}`)
  ).length

export type Fields = Record<string, string>
/** A connection kept from a test of some seconds may be one that the server is closing. */
export const once = { connection: 'close' }
export interface Posted {
  status: number
  text: string
}

/** As Twilio calls, or with whatever signature is given. */
export async function twilio(path: string, fields: Fields, signature?: string): Promise<Posted> {
  const url = rig.system.url + path
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...once,
      'x-twilio-signature': signature ?? getExpectedTwilioSignature(authToken, url, fields),
    },
    body: new URLSearchParams(fields).toString(),
  })
  return { status: answer.status, text: await answer.text() }
}
export const report = (messageId: string, MessageStatus: string, more: Fields = {}) => ({
  ...{ MessageSid: messageId, MessageStatus, To: '+233241234567' },
  ...more,
})

export async function batch(path: string, body: unknown, word = 'friend'): Promise<Posted> {
  const answer = await fetch(rig.system.url + path, {
    method: 'POST',
    headers: { ...once, 'content-type': 'application/json', 'x-word': word },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: answer.status, text: await answer.text() }
}
