import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { checkBudget } from '../../core/limits'
import { unlockBudget } from '../../db/verify/check-budgets'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { checkCode, type CheckOutcome } from '../../db/verify/checks'
import { requestsOnly } from '../harness/requests'

type Requests = Awaited<ReturnType<typeof requestsOnly>>
let requests: Requests

beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

type Recipient = ReturnType<Requests['freshNumber']>

const wordOf = (outcome: CheckOutcome): string =>
  outcome.outcome === 'rejected' ? outcome.errorCode : outcome.outcome

const tally = (words: string[]) =>
  Object.fromEntries([...Map.groupBy(words, String)].map(([word, { length }]) => [word, length]))

let purposes = 0
/** A live request of its own for a recipient; the limits of sends are not what is tested here. */
async function openFor(recipient: Recipient) {
  await requests.db.many(sql`delete from send_windows`)
  const { requestId } = await requests.open({ recipient, purpose: `p${++purposes}` })
  const code = await requests.codeOf(requestId)
  const wrong = code === '000000' ? '000001' : '000000'
  return { requestId, code, wrong }
}

const checkWith = (requestId: string, code: string, solvedChallenge: boolean) =>
  checkCode(requests.db, requests.keyring, {
    ...requests.owner,
    by: { requestId },
    code,
    actor: 'test',
    solvedChallenge,
  })

/** Makes the wrong checks of every recipient older. */
const letPass = (seconds: number) =>
  requests.db.many(sql`update check_budgets set wrong =
    array(select t - make_interval(secs => ${seconds}) from unnest(wrong) with ordinality u(t, n) order by n)`)

const budgetOf = (requestId: string) =>
  requests.db.one<{ wrong: number; consecutive: number }>(sql`
    select cardinality(wrong) as wrong, consecutive from check_budgets b
    join otp_requests r on r.recipient_id = b.recipient_id and r.environment = b.environment
    where r.id = ${requestId}`)

/** Wrong checks of one recipient, four a request, waiting as long as each is asked to. */
async function guess(recipient: Recipient, count: number, solvedChallenge = false): Promise<void> {
  let request = await openFor(recipient)
  for (let done = 0; done < count;) {
    if (done > 0 && done % 4 === 0) request = await openFor(recipient)
    const outcome = await checkWith(request.requestId, request.wrong, solvedChallenge)
    if (outcome.outcome === 'held_back') await letPass(outcome.retryAfterSeconds)
    else {
      expect(outcome).toMatchObject({ errorCode: 'INVALID_CODE' })
      done++
    }
  }
}

describe('the budget of an hour', () => {
  test('ten wrong checks pass, over new requests too; then not even the right code is looked at', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 10)
    const { requestId, code } = await openFor(recipient)
    const outcome = await requests.check(requestId, code)
    expect(outcome).toMatchObject({ outcome: 'held_back', forGood: false })
    expect('retryAfterSeconds' in outcome && outcome.retryAfterSeconds).toBeGreaterThan(25)
    expect('retryAfterSeconds' in outcome && outcome.retryAfterSeconds).toBeLessThanOrEqual(30)
    // Held back is not checked: the code has all of its five left, and the budget did not grow.
    expect(
      await requests.db.one(sql`select checks, state from otp_requests where id = ${requestId}`),
    ).toEqual({ checks: 0, state: 'pending' })
    expect(await budgetOf(requestId)).toEqual({ wrong: 10, consecutive: 10 })
    expect(
      await requests.db.one(sql`select type, detail from audit_events
        where request_id = ${requestId} order by sequence desc limit 1`),
    ).toEqual({ type: 'check_refused', detail: { error_code: 'TOO_MANY_CHECKS' } })
  })

  test('the pause is 30 s and doubles with each wrong check, up to an hour', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 10)
    const { requestId, wrong, code } = await openFor(recipient)
    const pauses: number[] = []
    for (let i = 0; i < 4; i++) {
      const held = await requests.check(requestId, wrong)
      const seconds = 'retryAfterSeconds' in held ? held.retryAfterSeconds : 0
      pauses.push(seconds)
      await letPass(seconds - 2)
      expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'held_back' })
      await letPass(2)
      expect(await requests.check(requestId, wrong)).toMatchObject({ errorCode: 'INVALID_CODE' })
    }
    expect(pauses.map((seconds) => Math.round(seconds / 10) * 10)).toEqual([30, 60, 120, 240])
    // Whoever waits gets in, and pays nothing for a right code.
    await letPass(480)
    const before = await budgetOf(requestId)
    expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'verified' })
    expect(await budgetOf(requestId)).toEqual({ wrong: before?.wrong, consecutive: 0 })
  })
})

describe('the budget of a day', () => {
  test('20 wrong checks; the next waits until the oldest is a day old, and a new code changes nothing', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 20)
    const { requestId, code } = await openFor(recipient)
    const held = await requests.check(requestId, code)
    expect(held).toMatchObject({ outcome: 'held_back', forGood: false })
    const seconds = 'retryAfterSeconds' in held ? held.retryAfterSeconds : 0
    expect(seconds).toBeGreaterThan(3_600)
    expect(seconds).toBeLessThan(86_400)
    await letPass(seconds - 2)
    expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'held_back' })
    await letPass(2)
    expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'verified' })
  })

  test('is not held against the owner who solves a challenge, one for each check', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 20)
    const { requestId, code, wrong } = await openFor(recipient)
    expect(await checkWith(requestId, wrong, true)).toMatchObject({ errorCode: 'INVALID_CODE' })
    expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'held_back' })
    expect(await checkWith(requestId, code, true)).toMatchObject({ outcome: 'verified' })
    expect((await budgetOf(requestId))?.consecutive).toBe(0)
  })

  test('of challenged checks is 50, then no challenge helps until the oldest is a day old', async () => {
    const recipient = requests.freshNumber()
    const { challenged } = checkBudget
    for (let done = 0; done < challenged.max;) {
      const { requestId, wrong } = await openFor(recipient)
      for (let turn = 0; turn < 4 && done < challenged.max; turn++, done++)
        expect(await checkWith(requestId, wrong, true)).toMatchObject({ errorCode: 'INVALID_CODE' })
    }
    const { requestId, code } = await openFor(recipient)
    const held = await checkWith(requestId, code, true)
    expect(held).toMatchObject({ outcome: 'held_back', forGood: false, challengeHelps: false })
    // Without one it is the same, and says so: nobody has to solve a challenge in vain.
    expect(await requests.check(requestId, code)).toMatchObject({ challengeHelps: false })
    const seconds = 'retryAfterSeconds' in held ? held.retryAfterSeconds : 0
    expect(seconds).toBeGreaterThan(86_400 - 60)
    await letPass(seconds - 2)
    expect(await checkWith(requestId, code, true)).toMatchObject({ outcome: 'held_back' })
    await letPass(2)
    expect(await checkWith(requestId, code, true)).toMatchObject({ outcome: 'verified' })
  })

  test('of 120 challenged checks at once 50 are looked at', async () => {
    const recipient = requests.freshNumber()
    const opened: Awaited<ReturnType<typeof openFor>>[] = []
    for (let i = 0; i < 24; i++) opened.push(await openFor(recipient))
    const outcomes = await Promise.all(
      Array.from({ length: 120 }, (_, i) => {
        const { requestId = '', wrong = '' } = opened[i % 24] ?? {}
        return checkWith(requestId, wrong, true)
      }),
    )
    expect(tally(outcomes.map(wordOf)).INVALID_CODE).toBe(checkBudget.challenged.max)
  })

  test('belongs to one recipient in one environment', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 20)
    const other = await openFor(requests.freshNumber())
    expect(await requests.check(other.requestId, other.code)).toMatchObject({ outcome: 'verified' })
    const owner = { ...requests.owner, environment: 'production' as const }
    const { requestId } = await requests.open({ recipient, environment: 'production' })
    const code = await requests.codeOf(requestId)
    const input = { ...owner, by: { requestId }, code, actor: 'test' }
    expect(await checkCode(requests.db, requests.keyring, input)).toMatchObject({
      outcome: 'verified',
    })
  })
})

describe('a hundred wrong checks in a row', () => {
  test('lock, a solved challenge does not help, an operator does', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 99, true)
    const last = await openFor(recipient)
    expect(await checkWith(last.requestId, last.wrong, true)).toMatchObject({
      errorCode: 'INVALID_CODE',
    })
    expect(
      await requests.db.many(sql`select type, sequence, detail from audit_events
        where request_id = ${last.requestId} order by sequence`),
    ).toMatchObject([
      { type: 'requested', sequence: 1 },
      { sequence: 2 },
      { type: 'check_rejected', sequence: 3 },
      { type: 'budget_locked', sequence: 4, detail: { consecutive: checkBudget.consecutive } },
    ])
    const { requestId, code } = await openFor(recipient)
    await letPass(86_400)
    const locked = { outcome: 'held_back', forGood: true }
    expect(await checkWith(requestId, code, false)).toMatchObject(locked)
    expect(await checkWith(requestId, code, true)).toMatchObject(locked)
    const address = { appId: requests.owner.appId, ...recipient }
    expect(await unlockBudget(requests.db, requests.keyring, address, ['production'])).toBe(false)
    expect(await checkWith(requestId, code, true)).toMatchObject(locked)
    expect(await unlockBudget(requests.db, requests.keyring, address)).toBe(true)
    expect(await unlockBudget(requests.db, requests.keyring, address)).toBe(false)
    expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'verified' })
  })

  test('start anew after a right code', async () => {
    const recipient = requests.freshNumber()
    await guess(recipient, 60, true)
    const { requestId, code } = await openFor(recipient)
    expect(await checkWith(requestId, code, true)).toMatchObject({ outcome: 'verified' })
    await guess(recipient, 60, true)
  })

  test('are remembered for as long as no right one ends them, and only then forgotten', async () => {
    const { requestId, code, wrong } = await openFor(requests.freshNumber())
    await requests.check(requestId, wrong)
    await letPass(86_401)
    await deleteOutlived(requests.db, 1_000)
    expect(await budgetOf(requestId)).toEqual({ wrong: 1, consecutive: 1 })
    expect(await requests.check(requestId, code)).toMatchObject({ outcome: 'verified' })
    await deleteOutlived(requests.db, 1_000)
    expect(await budgetOf(requestId)).toBeUndefined()
  })

  test('there is nothing to unlock for a number that nobody knows', async () => {
    const address = { appId: requests.owner.appId, ...requests.freshNumber() }
    expect(await unlockBudget(requests.db, requests.keyring, address)).toBe(false)
  })
})

describe('at once', () => {
  test('200 wrong checks over eight requests of one recipient: ten are looked at', async () => {
    const recipient = requests.freshNumber()
    const opened: Awaited<ReturnType<typeof openFor>>[] = []
    for (let i = 0; i < 8; i++) opened.push(await openFor(recipient))
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, i) => {
        const { requestId = '', wrong = '' } = opened[i % 8] ?? {}
        return requests.check(requestId, wrong)
      }),
    )
    const counts = tally(outcomes.map(wordOf))
    expect(counts.INVALID_CODE).toBe(10)
    expect(10 + (counts.held_back ?? 0) + (counts.locked ?? 0)).toBe(200)
    expect(await budgetOf(opened[0]?.requestId ?? '')).toEqual({ wrong: 10, consecutive: 10 })
    const { sum } = (await requests.db.one<{ sum: number }>(sql`select sum(checks)::int as sum
      from otp_requests r where recipient_id in
        (select recipient_id from otp_requests where id = ${opened[0]?.requestId})`)) ?? { sum: 0 }
    expect(sum).toBe(10)
  })

  test('the right code among 60 wrong ones on a new recipient verifies at most once, and never out of budget', async () => {
    for (let round = 0; round < 5; round++) {
      const recipient = requests.freshNumber()
      const opened: Awaited<ReturnType<typeof openFor>>[] = []
      for (let i = 0; i < 4; i++) opened.push(await openFor(recipient))
      const [first] = opened
      if (!first) throw new Error('not opened')
      const outcomes = await Promise.all(
        Array.from({ length: 64 }, (_, i) => {
          const { requestId, wrong } = opened[i % 4] ?? first
          return requests.check(requestId, i === 20 ? first.code : wrong)
        }),
      )
      const counts = tally(outcomes.map(wordOf))
      expect(counts.INVALID_CODE).toBe(10)
      expect(counts.verified ?? 0).toBeLessThanOrEqual(1)
    }
  })

  test('the audit numbers have no gap and no twin', async () => {
    expect(
      await requests.db.many(sql`select request_id from audit_events where request_id is not null
        group by request_id having count(*) <> max(sequence)`),
    ).toEqual([])
  })
})
