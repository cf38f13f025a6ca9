import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { UnknownKey } from '../../codes/keyring'
import { openKeyFile } from '../../codes/key-file'
import { stepDefaults } from '../../core/requests/plan'
import { recordAnswer } from '../../db/delivery/attempts'
import { openUssdWindow } from '../../db/ussd/windows'
import { findWaitingCodes, showWaitingCode } from '../../db/ussd/dials'
import { eraseRecipient } from '../../db/recipients/erasure'
import { cancelRequest } from '../../db/requests/commands'
import { openRequest } from '../../db/requests/sends'
import { markQueued } from '../../db/requests/starts'
import { requestsOnly } from '../harness/requests'
import { sendInput, tempKeyFile } from '../harness/seed'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

const dialStrings = new Map([
  ['sandbox-a', '*1#'],
  ['sandbox-b', '*2#'],
])
const stepOf = (channel: 'sms' | 'ussd', providers = ['sandbox-a', 'sandbox-b']) => ({
  channel,
  providers,
  ...stepDefaults[channel],
})
const plan = [stepOf('sms'), stepOf('ussd')]

/** A started request whose plan ends with USSD. */
async function openDialable(given: Parameters<typeof sendInput>[0] = {}) {
  const recipient = requests.freshNumber()
  const opened = await requests.open({ recipient, plan, dialStrings, ...given })
  return { ...opened, phoneNumber: recipient.value }
}

let sessions = 0
async function dial(phoneNumber: string, { provider = 'sandbox-a', sessionKey = '' } = {}) {
  const { db, keyring } = requests
  const by = { provider, phoneNumber }
  const [waiting] = (await findWaitingCodes(db, keyring, by)) ?? []
  return showWaitingCode(db, keyring, {
    ...by,
    waiting,
    sessionKey: sessionKey || `session-${++sessions}`,
  })
}

const evidenceOf = async (requestId: string) => {
  const row = await requests.db.one<{
    auditSeq: number
    sequences: number[]
    types: string[]
    attempts: { number: number; sendNo: number; step: number; state: string; status: string }[]
    views: number | null
    delivered: boolean
    due: boolean
  }>(sql`
    select audit_seq as "auditSeq", delivered_at is not null as delivered, signal_due_at is not null as due,
      (select array_agg(sequence order by sequence) from audit_events e where e.request_id = r.id) as sequences,
      (select array_agg(type::text order by sequence) from audit_events e where e.request_id = r.id) as types,
      (select coalesce(jsonb_agg(jsonb_build_object('number', number, 'sendNo', send_no, 'step', step, 'state', state,
        'status', status) order by number), '[]') from attempts a where a.request_id = r.id) as attempts,
      (select views::int from ussd_windows w where w.request_id = r.id and provider = 'sandbox-a') as views
    from otp_requests r where id = ${requestId}`)
  if (!row) throw new Error('no row')
  expect(row.sequences).toEqual(Array.from({ length: row.auditSeq }, (_, at) => at + 1))
  return row
}

describe('a window', () => {
  test('opens with the request, at the first account that shows codes of ours', async () => {
    const { requestId, instruction, phoneNumber } = await openDialable()
    expect(instruction).toBe('*1#')
    expect(await dial(phoneNumber, { provider: 'sandbox-b' })).toBeUndefined()
    const shown = await dial(phoneNumber)
    expect(shown).toMatchObject({
      code: await requests.codeOf(requestId),
      wake: { requestId, signal: 'receipt', attempt: 1, step: 1, status: 'delivered' },
    })
    expect(await evidenceOf(requestId)).toMatchObject({
      attempts: [{ number: 1, sendNo: -1, step: 1, state: 'accepted', status: 'delivered' }],
      types: ['requested', 'started', 'attempt_claimed', 'receipt'],
      ...{ views: 1, delivered: true, due: true },
    })
  })

  test('is not there without a USSD step, or without an account that shows codes', async () => {
    for (const given of [{ plan: [stepOf('sms')] }, { dialStrings: undefined }]) {
      const { instruction, phoneNumber } = await openDialable(given)
      expect(instruction).toBeNull()
      expect(await dial(phoneNumber)).toBeUndefined()
    }
  })

  test('shows three looks, however many come at once, and makes one attempt of them', async () => {
    const { requestId, phoneNumber } = await openDialable()
    const { db, keyring } = requests
    const by = { provider: 'sandbox-a', phoneNumber }
    const [waiting] = (await findWaitingCodes(db, keyring, by)) ?? []
    const shown = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        showWaitingCode(db, keyring, { ...by, waiting, sessionKey: `at-once-${at}` }),
      ),
    )
    expect(shown.filter((look) => look !== undefined)).toHaveLength(3)
    // The run is told of it once.
    expect(shown.filter((look) => look?.wake)).toHaveLength(1)
    const { attempts, types, views } = await evidenceOf(requestId)
    expect({ attempts: attempts.length, views }).toEqual({ attempts: 1, views: 3 })
    expect(types.filter((type) => type === 'receipt')).toHaveLength(3)
    expect(await findWaitingCodes(db, keyring, by)).toEqual([])
  })

  test('a session that comes twice is one receipt', async () => {
    const { requestId, phoneNumber } = await openDialable()
    for (let time = 0; time < 2; time++)
      expect(await dial(phoneNumber, { sessionKey: 'the-same' })).toBeDefined()
    expect((await evidenceOf(requestId)).types.filter((type) => type === 'receipt')).toHaveLength(1)
  })

  test('once the step has an attempt, a dial is its receipt; what was dialled before stays', async () => {
    const { requestId, phoneNumber } = await openDialable()
    await dial(phoneNumber)
    const claim = await requests.claim(requestId, { channel: 'ussd', step: 1 })
    const attemptId = claim?.attemptId ?? ''
    await openUssdWindow(requests.db, requests.keyring, {
      ...{ attemptId, phoneNumber, serviceCode: '*1#' },
    })
    const ref = { requestId, attemptId, runId: 'run' }
    await recordAnswer(requests.db, ref, { state: 'accepted', providerMessageId: null })
    expect(await dial(phoneNumber)).toMatchObject({ wake: { attempt: 2, step: 1 } })
    expect((await evidenceOf(requestId)).attempts).toMatchObject([
      { number: 1, sendNo: -1, status: 'delivered' },
      { number: 2, sendNo: 1, status: 'delivered' },
    ])
  })

  test('what was dialled before its turn is not what is sent again', async () => {
    const { requestId, phoneNumber } = await openDialable()
    await requests.claim(requestId)
    await dial(phoneNumber)
    await requests.db.many(sql`update attempts set claimed_at = claimed_at - interval '1 minute'
      where request_id = ${requestId}`)
    const command = { ...requests.owner, requestId, actor: 'test' }
    expect(await requests.resend(command)).toMatchObject({ outcome: 'done', channel: 'sms' })
    expect(await requests.next(command)).toMatchObject({ outcome: 'done', channel: 'ussd' })
  })

  test('a dial before the first message does not have that one sent again', async () => {
    const { requestId, phoneNumber } = await openDialable()
    await dial(phoneNumber)
    const command = { ...requests.owner, requestId, actor: 'test' }
    expect(await requests.resend(command)).toMatchObject({ outcome: 'already_sending' })
    const recipient = { kind: 'phone' as const, value: phoneNumber }
    const again = sendInput({ recipient, plan, dialStrings })
    expect(await openRequest(requests.db, requests.keyring, again)).toMatchObject({
      ...{ outcome: 'repeated', requestId, resend: 'already_sending', wakes: [] },
    })
  })

  test('a call in doubt is no doubt any more once its code was shown', async () => {
    const { requestId, phoneNumber } = await openDialable()
    const claim = await requests.claim(requestId, { channel: 'ussd', step: 1 })
    const attemptId = claim?.attemptId ?? ''
    await openUssdWindow(requests.db, requests.keyring, {
      ...{ attemptId, phoneNumber, serviceCode: '*1#' },
    })
    const ref = { requestId, attemptId, runId: 'run' }
    await recordAnswer(requests.db, ref, { state: 'in_doubt' })
    expect(await dial(phoneNumber)).toMatchObject({ wake: { attempt: 1, status: 'delivered' } })
  })

  test('an account that the step fails over to has its own', async () => {
    const { requestId, phoneNumber } = await openDialable()
    const claim = await requests.claim(requestId, {
      ...{ channel: 'ussd', step: 1, provider: 'sandbox-b' },
    })
    await openUssdWindow(requests.db, requests.keyring, {
      ...{ attemptId: claim?.attemptId ?? '', phoneNumber, serviceCode: '*2#' },
    })
    const code = await requests.codeOf(requestId)
    for (const provider of ['sandbox-b', 'sandbox-a'])
      expect(await dial(phoneNumber, { provider })).toMatchObject({ code })
  })
})

describe('nothing is shown', () => {
  test('of a request that no run knows of, unless it is queued for one', async () => {
    const recipient = requests.freshNumber()
    const { requestId } = await requests.openUnstarted({ recipient, plan, dialStrings })
    expect(await dial(recipient.value)).toBeUndefined()
    await markQueued(requests.db, requestId)
    expect(await dial(recipient.value)).toMatchObject({ code: await requests.codeOf(requestId) })
    // The sweeper still has to start it.
    const started = sql`select workflow_started_at is null as waits from otp_requests where id = ${requestId}`
    expect(await requests.db.one(started)).toEqual({ waits: true })
  })

  test.each([
    [
      'cancelled',
      (requestId: string) =>
        cancelRequest(requests.db, { ...requests.owner, requestId, actor: 'test' }),
    ],
    [
      'verified',
      async (requestId: string) => requests.check(requestId, await requests.codeOf(requestId)),
    ],
    ['overdue', (requestId: string) => requests.shiftTime(requestId, 400)],
  ])('of a request that is %s, not even to who looked it up before', async (_state, end) => {
    const { requestId, phoneNumber } = await openDialable()
    const { db, keyring } = requests
    const by = { provider: 'sandbox-a', phoneNumber }
    const [waiting] = (await findWaitingCodes(db, keyring, by)) ?? []
    expect(waiting).toMatchObject({ requestId, brand: 'Acme' })
    await end(requestId)
    expect(await findWaitingCodes(db, keyring, by)).toEqual([])
    const look = { ...by, waiting, sessionKey: 'too-late' }
    expect(await showWaitingCode(db, keyring, look)).toBeUndefined()
    expect((await evidenceOf(requestId)).attempts).toEqual([])
  })

  test('to a number that is erased, and no row of its dials is left', async () => {
    const { phoneNumber, requestId } = await openDialable()
    await dial(phoneNumber)
    const addressee = { kind: 'phone' as const, value: phoneNumber, actor: 'test' }
    await eraseRecipient(requests.db, requests.keyring, addressee)
    expect(await dial(phoneNumber)).toBeUndefined()
    const left = await requests.db.many(
      sql`select from ussd_windows where request_id = ${requestId}`,
    )
    expect(left).toEqual([])
    const shown = await requests.db.many<{ key: string }>(sql`select event_key as key from receipts
      where attempt_id in (select id from attempts where request_id = ${requestId})`)
    expect(shown).toEqual([{ key: expect.stringMatching(/^sha256:/) }])
  })

  test('under a key that this process has not read, and nothing is counted', async () => {
    const { requestId, phoneNumber } = await openDialable()
    const { db, keyring } = requests
    const by = { provider: 'sandbox-a', phoneNumber }
    const [waiting] = (await findWaitingCodes(db, keyring, by)) ?? []
    const stranger = openKeyFile(tempKeyFile(), { strict: true })
    const look = { ...by, waiting, sessionKey: 'stranger' }
    await expect(showWaitingCode(db, stranger, look)).rejects.toThrow(UnknownKey)
    stranger.close()
    expect(await evidenceOf(requestId)).toMatchObject({ attempts: [], views: 0 })
  })
})

describe('a wish for USSD', () => {
  const useUp = async (phoneNumber: string) => {
    for (let look = 0; look < 3; look++) await dial(phoneNumber)
    expect(await dial(phoneNumber)).toBeUndefined()
    await requests.db.many(sql`delete from ussd_dials`)
  }
  const longAgo = (requestId: string) =>
    requests.db.many(sql`update attempts set claimed_at = claimed_at - interval '1 minute'
      where request_id = ${requestId}`)

  test('as the next channel lets the number look again', async () => {
    const { requestId, phoneNumber } = await openDialable()
    await requests.claim(requestId)
    await useUp(phoneNumber)
    const command = { ...requests.owner, requestId, actor: 'test' }
    // The second wish before the move is the same, and is answered alike.
    for (let wish = 0; wish < 2; wish++)
      expect(await requests.next(command)).toMatchObject({
        ...{ outcome: 'done', channel: 'ussd', instruction: '*1#' },
      })
    expect(await dial(phoneNumber)).toBeDefined()
  })

  test('as a resend does too, also where the plan has no such step', async () => {
    const bySms = await openDialable({ plan: [stepOf('sms')] })
    await requests.claim(bySms.requestId)
    const dialable = await openDialable()
    await requests.claim(dialable.requestId)
    await useUp(dialable.phoneNumber)
    for (const { requestId, phoneNumber } of [bySms, dialable]) {
      await longAgo(requestId)
      const wish = { ...requests.owner, requestId, actor: 'test', step: stepOf('ussd') }
      expect(await requests.resend({ ...wish, dialStrings })).toMatchObject({
        ...{ outcome: 'done', channel: 'ussd', instruction: '*1#' },
      })
      expect(await dial(phoneNumber)).toMatchObject({ code: await requests.codeOf(requestId) })
    }
  })

  test('in a send while the request is live is the same', async () => {
    const { requestId, phoneNumber } = await openDialable()
    await requests.claim(requestId)
    await useUp(phoneNumber)
    await longAgo(requestId)
    const again = await openRequest(
      requests.db,
      requests.keyring,
      sendInput({
        ...{ recipient: { kind: 'phone', value: phoneNumber }, plan, dialStrings },
        explicitStep: stepOf('ussd'),
      }),
    )
    expect(again).toMatchObject({ outcome: 'repeated', requestId, instruction: '*1#' })
    expect(await dial(phoneNumber)).toBeDefined()
  })
})

test('what waits for a number: the newest of each brand, three at most, the newest first', async () => {
  const recipient = requests.freshNumber()
  const by = { provider: 'sandbox-a', phoneNumber: recipient.value }
  for (const brand of ['One', 'Two', 'Three', 'Four']) {
    // A send is limited to three a minute, whatever it is for.
    await requests.db.many(sql`delete from send_windows`)
    await requests.open({ recipient, plan, dialStrings, brand, purpose: brand.toLowerCase() })
  }
  await requests.db.many(sql`delete from send_windows`)
  const again = { recipient, plan, dialStrings, brand: 'Three', purpose: 'three-again' }
  const { requestId } = await requests.open(again)
  const waiting = await findWaitingCodes(requests.db, requests.keyring, by)
  expect(waiting?.map(({ brand }) => brand)).toEqual(['Three', 'Four', 'Two'])
  expect(waiting?.[0]?.requestId).toBe(requestId)
})
