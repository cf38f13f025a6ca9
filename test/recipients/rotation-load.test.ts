import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { readKeyFile, settleMs } from '../../codes/key-file'
import { addKeys, dropKey } from '../../codes/key-rotation'
import type { KeyPurpose } from '../../codes/keyring'
import { keyUses } from '../../db/upkeep/key-use'
import { findOrAddRecipient, findRecipient } from '../../db/recipients/recipients'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

const root = resolve(__dirname, '..', '..')
const rotated = ['codes', 'phones', 'app_index', 'global_index', 'callbacks'] as const
/** Long enough for the service to read the file first, as the minute is in earnest. */
const inUseAfterMs = 7_000
const users = 3
const storedBefore = 600

let system: System
let client: TestClient
beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
})
afterAll(() => system.stop())

const otpilot = (...args: string[]) =>
  spawn(process.execPath, ['--import', 'tsx', 'cli/otpilot.ts', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: system.databaseUrl,
      OTPILOT_KEYS_FILE: system.keysFile,
    },
  })

async function ended(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = ''
  child.stdout?.on('data', (data: Buffer) => (output += data.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

const codeFor = async (phone: string): Promise<string> =>
  (await until(async () => (await client.inbox(phone))[0], { what: `a message for ${phone}` })).code

/** Another code. */
const not = (code: string) => (code === '000000' ? '000001' : '000000')

const addressOf = (phone: string) => ({ appId: 'app', kind: 'phone' as const, value: phone })

/** Sends, twice with one idempotency key; types a wrong code, then the right one. */
async function verification(): Promise<void> {
  const phone = freshPhone()
  const key = { 'idempotency-key': `key-${phone}` }
  const sent = await client.send(phone, { metadata: { order: phone } }, key)
  expect(sent.body).toEqual(expect.objectContaining({ status: 'sent' }))
  const requestId = sent.body.request_id
  const code = await codeFor(phone)
  expect((await client.send(phone, { metadata: { order: phone } }, key)).body.request_id).toBe(
    requestId,
  )
  const wrong = await client.verify({
    phone_number: phone,
    code: not(code),
  })
  expect(wrong).toMatchObject({ status: 200, body: { attempts_remaining: 4 } })
  expect(await client.verify({ phone_number: phone, code })).toMatchObject({
    status: 200,
    body: { status: 'verified' },
  })
}

/** Users who go on until told to stop; resolves with the number of verifications, rejects at the first fault. */
function startUsers() {
  const stopping = new AbortController()
  let count = 0
  const user = async () => {
    for (; !stopping.signal.aborted; count++) await verification()
  }
  const running = Promise.all(Array.from({ length: users }, user))
  running.catch(() => undefined)
  return {
    count: () => count,
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/** A request whose receipt comes only after the switch, by the token of a callback made before it. */
async function sendPatiently(): Promise<{ phone: string; requestId: string; code: string }> {
  const phone = freshPhone()
  await client.script(phone, { receipt: 'delivered', receipt_after_ms: 15_000 })
  const requestId = await client.sent(phone)
  return { phone, requestId, code: await codeFor(phone) }
}

const movedSoFar = async (kid: string) =>
  (
    await system.db.one<{ count: number }>(
      sql`select count(*)::int as count from recipients where kid = ${kid}`,
    )
  )?.count ?? 0

const newestKid = (purpose: KeyPurpose) =>
  readKeyFile(system.keysFile, { strict: true })[purpose].at(-1)?.kid ?? ''

async function drop(purpose: KeyPurpose, kid: string): Promise<void> {
  const named = async () =>
    (await keyUses(system.db, []))
      .filter((use) => use.purpose === purpose && use.kid === kid)
      .map(({ rows, what }) => `${rows} ${what}`)
  const now = new Date(Date.now() + 25 * 3_600_000)
  await dropKey(system.keysFile, { purpose, kid }, { rowsNaming: named, now })
}

test('every key is replaced, under load, and nobody notices', async () => {
  const { db, keyring, keysFile } = system
  const stored = Array.from({ length: storedBefore }, (_, i) => `+2335${10_000_000 + i}`)
  // One after the other in a few lanes: the pool's patience is three seconds.
  const lanes = [0, 1, 2, 3].map(async (lane) => {
    for (const phone of stored.filter((_, i) => i % 4 === lane))
      await findOrAddRecipient(db, keyring, addressOf(phone))
  })
  await Promise.all(lanes)
  const friend = freshPhone()
  const friendId = await findOrAddRecipient(db, keyring, addressOf(friend))
  const old = rotated.map((purpose) => ({ purpose, kid: keyring.active(purpose).kid }))
  const load = startUsers()
  const patient = await Promise.all([sendPatiently(), sendPatiently(), sendPatiently()])
  const wrong = { request_id: patient[0].requestId, code: not(patient[0].code) }
  // Under this load a call may have to be made again, which costs no check.
  await until(async () => (await client.verify(wrong)).status === 200, { what: 'a wrong check' })

  addKeys(keysFile, rotated, new Date(Date.now() - settleMs + inUseAfterMs))
  await until(async () => keyring.active('codes').kid === newestKid('codes'), {
    what: 'the new keys in use',
  })
  const atSwitch = load.count()

  // Killed on its way, then run by two people at once.
  const first = otpilot('reencrypt', '--batch', '3')
  const phones = newestKid('phones')
  await until(async () => (await movedSoFar(phones)) > 100, { what: 'some rows moved' })
  first.kill('SIGKILL')
  await once(first, 'close')
  expect(await movedSoFar(phones)).toBeLessThan(storedBefore)
  const runs = [otpilot('reencrypt', '--batch', '100'), otpilot('reencrypt', '--batch', '100')]
  for (const { code, output } of await Promise.all(runs.map(ended)))
    expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/; 0 are left/) })

  await until(async () => load.count() > atSwitch + users, { what: 'users after the switch' })
  await load.stop()
  expect(atSwitch).toBeGreaterThan(users)

  // What was begun before the switch: a receipt by its callback token, a code by its number and by its id.
  for (const { phone, requestId, code } of patient) {
    const { steps } = await until(async () => {
      const status = await client.status(requestId)
      return status.delivered_at !== null && status
    })
    expect(steps[0]?.attempts).toHaveLength(1)
    const by = phone === patient[2].phone ? { request_id: requestId } : { phone_number: phone }
    await expect(drop('codes', old[0]?.kid ?? '')).rejects.toThrow(/codes of pending requests/)
    expect((await client.verify({ ...by, code })).body).toMatchObject({ status: 'verified' })
  }
  const { lost } = (await db.one<{ lost: number }>(
    sql`select count(*)::int as lost from otp_requests where state <> 'verified'`,
  )) ?? { lost: -1 }
  expect(lost).toBe(0)

  // No number has two rows: as many as numbers were given.
  const numbers = storedBefore + 1 + patient.length + load.count()
  expect(await movedSoFar(phones)).toBe(numbers)
  expect(await db.one(sql`select count(*)::int as count from recipients`)).toEqual({
    count: numbers,
  })

  const status = await ended(otpilot('key-file', 'status'))
  expect(status.output).toMatch(
    new RegExp(`phones +${phones} +active since .*${numbers} recipients`),
  )
  for (const { purpose, kid } of old)
    expect(status.output).toMatch(new RegExp(`${purpose} +${kid} +replaced at .*no rows`))

  for (const { purpose, kid } of old) await drop(purpose, kid)
  await until(async () => rotated.every((purpose) => keyring.all(purpose).length === 1))
  expect((await findRecipient(db, keyring, addressOf(friend)))?.id).toBe(friendId)
  await verification()
  const { requestId } = patient[0]
  await untilState(client, requestId, 'verified')
}, 180_000)

test('a code whose key this process does not hold: 503, never a wrong code', async () => {
  const phone = freshPhone()
  const requestId = await client.sent(phone)
  const code = await codeFor(phone)
  const kid = system.keyring.active('codes').kid
  const setKid = (to: string) =>
    system.db.many(sql`update otp_requests set code_kid = ${to} where id = ${requestId}`)
  await setKid('unheard-of')
  for (const by of [{ phone_number: phone }, { request_id: requestId }])
    expect(await client.verify({ ...by, code })).toMatchObject({
      status: 503,
      body: { error_code: 'SERVICE_UNAVAILABLE' },
    })
  expect(await system.db.one(sql`select checks from otp_requests where id = ${requestId}`)).toEqual(
    {
      checks: 0,
    },
  )
  await setKid(kid)
  expect((await client.verify({ phone_number: phone, code })).body.status).toBe('verified')
})
