import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { deriveCode } from '../../codes/code'
import { openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import { keyPurposes, UnknownKey } from '../../codes/keyring'
import { appIndex, callbackDigest } from '../../codes/seal'
import type { Queries } from '../../db'
import { checkCode } from '../../db/verify/checks'
import { holdRecipients } from '../../db/recipients/held-recipients'
import { claimIdempotencyKey } from '../../db/requests/idempotency'
import { deletePreference, findPreference, putPreference } from '../../db/recipients/preferences'
import { findAttemptByToken } from '../../db/delivery/receipts'
import { findOrAddRecipient } from '../../db/recipients/recipients'
import type { SendInput } from '../../db/requests/new-request'
import { openRequest } from '../../db/requests/sends'
import { openUssdWindow } from '../../db/ussd/windows'
import { findWaitingCodes, showWaitingCode } from '../../db/ussd/dials'
import { until } from '../harness/client'
import { requestsOnly } from '../harness/requests'
import { sendInput, tempKeyFile } from '../harness/seed'

// Two processes that know the same keys and disagree on which of them is in use, as in the seconds of a switch.
const path = tempKeyFile()
const only = openKeyFile(path, { strict: true, rereadMs: 3_600_000 })
addKeys(path, keyPurposes)
const early = openKeyFile(path, { strict: true, settleMs: 0 })
const late = openKeyFile(path, { strict: true, settleMs: 3_600_000 })

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly(late)
})
afterAll(async () => {
  await requests.close()
  for (const keyring of [only, early]) keyring.close()
})

const either = (i: number) => (i % 2 === 0 ? early : late)
const address = ({ value }: { value: string }) => ({ appId: 'app', kind: 'phone' as const, value })
const countIn = async (table: string, condition = sql`true`) =>
  (
    await requests.db.one<{ count: number }>(
      sql`select count(*)::int as count from ${sql.raw(table)} where ${condition}`,
    )
  )?.count
const key = () => ({ key: randomBytes(8).toString('hex'), body: Buffer.from('{}') })

test('the two do disagree', () => {
  for (const purpose of keyPurposes) {
    expect(early.active(purpose)).not.toEqual(late.active(purpose))
    expect(late.active(purpose)).toEqual(only.active(purpose))
  }
})

describe('a recipient', () => {
  test('met by both at once has one row', async () => {
    const before = (await countIn('recipients')) ?? 0
    for (let round = 0; round < 20; round++) {
      const recipient = requests.freshNumber()
      const ids = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          findOrAddRecipient(requests.db, either(i), address(recipient)),
        ),
      )
      expect(new Set(ids).size).toBe(1)
    }
    expect(await countIn('recipients')).toBe(before + 20)
  })

  test('has one live request and one limit', async () => {
    const recipient = requests.freshNumber()
    const decided = []
    for (let i = 0; i < 6; i++)
      decided.push(await openRequest(requests.db, either(i), sendInput({ recipient })))
    expect(decided.map(({ outcome }) => outcome)).toEqual([
      'created',
      'repeated',
      'repeated',
      'rate_limited',
      'rate_limited',
      'rate_limited',
    ])
  })

  test('keeps the preference that the other process wrote', async () => {
    const given = { ...address(requests.freshNumber()), environment: 'staging' as const }
    await Promise.all(
      [0, 1, 2, 3].map((i) =>
        putPreference(requests.db, either(i), { ...given, channel: 'whatsapp' }),
      ),
    )
    expect(await findPreference(requests.db, early, given)).toBe('whatsapp')
    expect(await findPreference(requests.db, late, given)).toBe('whatsapp')
    expect(await deletePreference(requests.db, early, given)).toBe(true)
    expect(await findPreference(requests.db, late, given)).toBeUndefined()
  })
})

describe('an idempotency key', () => {
  const sendWith = (i: number, given: Partial<SendInput>) =>
    openRequest(requests.db, either(i), sendInput(given))

  test('used by both at once makes one request', async () => {
    for (let round = 0; round < 10; round++) {
      const given = { recipient: requests.freshNumber(), idempotency: key() }
      const before = (await countIn('idempotency_keys')) ?? 0
      const decided = await Promise.all(Array.from({ length: 8 }, (_, i) => sendWith(i, given)))
      const ids = decided.map((decision) => 'requestId' in decision && decision.requestId)
      expect(new Set(ids).size).toBe(1)
      expect(decided.filter(({ outcome }) => outcome === 'created')).toHaveLength(1)
      expect(decided.filter(({ outcome }) => outcome === 'replayed')).toHaveLength(7)
      expect(await countIn('idempotency_keys')).toBe(before + 1)
    }
  })

  test('used by both at once for two numbers is refused to one of them', async () => {
    for (let round = 0; round < 10; round++) {
      const idempotency = key()
      const other = { ...idempotency, body: Buffer.from('{"other":1}') }
      const decided = await Promise.all([
        sendWith(round, { recipient: requests.freshNumber(), idempotency }),
        sendWith(round + 1, { recipient: requests.freshNumber(), idempotency: other }),
      ])
      expect(decided.map(({ outcome }) => outcome).sort()).toEqual([
        'created',
        'idempotency_mismatch',
      ])
    }
  })

  test('that is a day old is free again, whichever key it was stored under', async () => {
    const given = { recipient: requests.freshNumber(), idempotency: key() }
    const first = await sendWith(1, given)
    if (!('requestId' in first)) throw new Error(first.outcome)
    await requests.db.many(sql`update idempotency_keys set created_at = now() - interval '25 hours'
      where request_id = ${first.requestId}`)
    expect(await sendWith(0, { ...given, purpose: 'later' })).toMatchObject({ outcome: 'created' })
    expect(await sendWith(1, { ...given, purpose: 'later' })).toMatchObject({ outcome: 'replayed' })
  })
})

describe('what one process stored under an older key, another finds', () => {
  test('the attempt of a callback token', async () => {
    const { requestId } = await requests.open()
    for (const [i, stored] of [late, early].entries()) {
      const token = randomBytes(16).toString('hex')
      const digest = callbackDigest(stored, token)
      const resendSeq = i === 0 ? 0 : await requests.askedAgain(requestId)
      const claim = await requests.claim(requestId, {
        ...{ sendNo: i + 1, resendSeq, callbackDigest: digest },
      })
      for (const keyring of [early, late]) {
        const by = { provider: 'sandbox-a', token }
        expect((await findAttemptByToken(requests.db, keyring, by))?.id).toBe(claim?.attemptId)
      }
    }
  })

  test('the code that waits for a number to dial', async () => {
    const recipient = requests.freshNumber()
    const { requestId } = await requests.open({ recipient })
    const claim = await requests.claim(requestId)
    const dial = { provider: 'sandbox-a', phoneNumber: recipient.value }
    await openUssdWindow(requests.db, late, {
      attemptId: claim?.attemptId ?? '',
      phoneNumber: recipient.value,
      serviceCode: '*920*1#',
    })
    const code = await requests.codeOf(requestId)
    for (const keyring of [early, late]) {
      const [waiting] = (await findWaitingCodes(requests.db, keyring, dial)) ?? []
      const look = { ...dial, waiting, sessionKey: 'session' }
      expect(await showWaitingCode(requests.db, keyring, look)).toMatchObject({ code })
    }
  })

  test('the code to check, by id and by number', async () => {
    for (const [i, by] of (['id', 'number'] as const).entries()) {
      const recipient = requests.freshNumber()
      const opened = await openRequest(requests.db, either(i + 1), sendInput({ recipient }))
      if (!('requestId' in opened)) throw new Error(opened.outcome)
      const { requestId } = opened
      const checked = await checkCode(requests.db, either(i), {
        ...requests.owner,
        by: by === 'id' ? { requestId } : { ...recipient, purpose: 'default' },
        code: await requests.codeOf(requestId),
        actor: 'test',
      })
      expect(checked.outcome).toBe('verified')
    }
  })

  test('but a process that has not read the key says so: never a wrong code, and nothing is counted', async () => {
    const opened = await openRequest(
      requests.db,
      early,
      sendInput({ recipient: requests.freshNumber() }),
    )
    if (!('requestId' in opened)) throw new Error(opened.outcome)
    const stranger = openKeyFile(tempKeyFile(), { strict: true })
    const { requestId } = opened
    const check = { ...requests.owner, by: { requestId }, code: '000000', actor: 'test' }
    await expect(checkCode(requests.db, stranger, check)).rejects.toThrow(UnknownKey)
    stranger.close()
    expect(
      await requests.db.one(sql`select checks from otp_requests where id = ${requestId}`),
    ).toEqual({ checks: 0 })
    expect(() =>
      deriveCode(late, {
        requestId,
        generation: 1,
        kid: 'gone',
        salt: Buffer.alloc(16),
        length: 6,
        alphabet: 'digits',
      }),
    ).toThrow(UnknownKey)
  })
})

test('an erasure that waits for a row while it moves to the new key still finds it', async () => {
  const given = address(requests.freshNumber())
  const id = await findOrAddRecipient(requests.db, late, given)
  const { index, kid } = appIndex(early, given)
  let holding: Promise<unknown> | undefined
  await requests.db.transaction(async (tx) => {
    await tx.many(sql`update recipients set index = ${index}, index_kid = ${kid} where id = ${id}`)
    holding = requests.db.transaction((other) => holdRecipients(other, late, given))
    await until(() =>
      requests.db.one(sql`select from pg_stat_activity
        where wait_event_type = 'Lock' and query like '%from recipients%for update%' and datname = current_database()`),
    )
  })
  expect(await holding).toEqual([{ id, appId: 'app' }])
})

test('an address is looked for in more apps and under more keys than a statement has parameters', async () => {
  const given = address(requests.freshNumber())
  await requests.db.many(sql`insert into apps (id, name, brand)
    select 'many' || n, 'Many', 'Many' from generate_series(1, 17000) n`)
  const ids = [
    await findOrAddRecipient(requests.db, early, given),
    await findOrAddRecipient(requests.db, late, { ...given, appId: 'many16999' }),
  ]
  const { kind, value } = given
  const held = await requests.db.transaction((tx) => holdRecipients(tx, late, { kind, value }))
  expect(held.map(({ id }) => id)).toEqual(ids.sort())
})

describe('while one key only is known, nothing is paid for rotation', () => {
  /** Counts the statements of one piece of work. */
  const counting = async (work: (tx: Queries) => Promise<unknown>): Promise<number> => {
    let count = 0
    const counted = (tx: Queries): Queries => ({
      many: (statement) => (count++, tx.many(statement)),
      one: (statement) => (count++, tx.one(statement)),
    })
    await requests.db.transaction((tx) => work(counted(tx)))
    return count
  }

  test.each([
    ['one key', only, { added: 2, known: 1, claimed: 1, repeated: 2 }],
    ['two keys', late, { added: 4, known: 1, claimed: 3, repeated: 2 }],
  ])('%s', async (_name, keyring, expected) => {
    const given = address(requests.freshNumber())
    const claim = { ...requests.owner, ...key(), requestId: 'otp_1' }
    expect({
      added: await counting((tx) => findOrAddRecipient(tx, keyring, given)),
      known: await counting((tx) => findOrAddRecipient(tx, keyring, given)),
      claimed: await counting((tx) => claimIdempotencyKey(tx, keyring, claim)),
      repeated: await counting((tx) => claimIdempotencyKey(tx, keyring, claim)),
    }).toEqual(expected)
  })
})
