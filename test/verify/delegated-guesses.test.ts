import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { UnknownKey } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { checkBudget } from '../../core/limits'
import { stepDefaults } from '../../core/requests/plan'
import { recordAnswer } from '../../db/delivery/attempts'
import { reserveNumber } from '../../db/delivery/delegation'
import { checkCode, type CheckInput } from '../../db/verify/checks'
import { addPage } from '../../db/requests/pages'
import { until } from '../harness/client'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

type Forward = NonNullable<CheckInput['forward']>

/** A request with a code of ours, and one that each of these providers made. */
async function opened(...providers: string[]) {
  const recipient = requests.freshNumber()
  const plan = providers.map((provider) => ({
    ...{ channel: 'voice' as const, providers: [provider], ...stepDefaults.voice },
  }))
  const { requestId } = await requests.open({ recipient, ...(plan.length > 0 && { plan }) })
  const attemptIds: string[] = []
  for (const [at, provider] of providers.entries()) {
    const claim = await requests.claim(requestId, {
      ...{ provider, channel: 'voice', step: at, sendNo: at + 1 },
    })
    const attemptId = claim?.attemptId ?? ''
    attemptIds.push(attemptId)
    const reservation = { attemptId, phoneNumber: recipient.value }
    expect(await reserveNumber(requests.db, requests.keyring, reservation)).toBe(true)
  }
  const code = await requests.codeOf(requestId)
  const wrong = code === '000000' ? '000001' : '000000'
  const check = (typed: string, forward: Forward) =>
    checkCode(requests.db, requests.keyring, {
      ...{ ...requests.owner, by: { requestId }, code: typed, actor: 'test', forward },
    })
  return { requestId, code, wrong, check, attemptIds }
}

const forwardedOf = async (requestId: string) =>
  (
    await requests.db.many<{ forwarded: number }>(
      sql`select forwarded from delegated_codes where request_id = ${requestId} order by provider`,
    )
  ).map(({ forwarded }) => forwarded)

const silence: Forward = ({ codes }) =>
  Promise.resolve({ silent: codes.map(({ provider }) => provider) })
const no: Forward = () => Promise.resolve(false)

describe('a code of ours beside one that a provider made', () => {
  test('is not told from a wrong one while a check is with the provider', async () => {
    const { code, wrong, check } = await opened('one')
    const answers: string[] = []
    await check(wrong, async () => {
      // Nothing counts these: whoever learns from them could try every code there is.
      for (const guess of [wrong, code, wrong]) answers.push((await check(guess, no)).outcome)
      return false
    })
    expect(answers).toEqual(['busy', 'busy', 'busy'])
    expect(await check(code, no)).toMatchObject({ outcome: 'verified' })
  })

  test('of many guesses at once, one is looked at', async () => {
    const { requestId, code, wrong, check } = await opened('one')
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => void (release = resolve))
    const typed = [...Array.from({ length: 20 }, () => wrong), code, wrong]
    let ended = 0
    const guesses = typed.map((guess) =>
      check(guess, () => held.then(() => false)).finally(() => ended++),
    )
    await until(async () => ended >= typed.length - 1, { what: 'the end of all guesses but one' })
    release()
    const decided = (await Promise.all(guesses)).filter(({ outcome }) => outcome !== 'busy')
    expect(decided.length).toBeLessThanOrEqual(1 + Number(decided[0]?.outcome === 'verified'))
    const [row] = await requests.db.many(
      sql`select checks from otp_requests where id = ${requestId}`,
    )
    expect(row).toEqual({ checks: 1 })
  })

  test('cannot be guessed for free while the provider is silent', async () => {
    const { requestId, wrong, check } = await opened('one')
    const outcomes = []
    for (let guess = 0; guess < checkBudget.hourly.max + 3; guess++)
      outcomes.push((await check(wrong, silence)).outcome)
    expect(outcomes.slice(0, checkBudget.hourly.max)).toEqual(
      Array.from({ length: checkBudget.hourly.max }, () => 'unanswered'),
    )
    expect(outcomes.slice(checkBudget.hourly.max)).toEqual(['held_back', 'held_back', 'held_back'])
    // Nor for whoever solves challenges: after a hundred in a row an operator has to let them in again.
    await requests.db.many(sql`update check_budgets set wrong = '{}', consecutive = 99
      where recipient_id = (select recipient_id from otp_requests where id = ${requestId})`)
    expect(await check(wrong, silence)).toMatchObject({ outcome: 'unanswered' })
    expect(await check(wrong, silence)).toMatchObject({ outcome: 'held_back', forGood: true })
    const types = await requests.db.many<{ type: string }>(sql`select type
      from audit_events where request_id = ${requestId} order by sequence desc limit 3`)
    expect(types.map(({ type }) => type)).toEqual([
      ...['check_refused', 'budget_locked', 'check_refused'],
    ])
    // The provider's code has all its five left.
    const [row] = await requests.db.many(
      sql`select state, checks from otp_requests where id = ${requestId}`,
    )
    expect(row).toEqual({ state: 'pending', checks: 0 })
    expect(await forwardedOf(requestId)).toEqual([0])
  })

  test('is compared five times in all, whatever the provider is silent about', async () => {
    const four = await opened('one')
    for (let guess = 0; guess < 4; guess++) await four.check(four.wrong, silence)
    expect(await four.check(four.code, silence)).toMatchObject({ outcome: 'verified' })

    const { requestId, code, wrong, check } = await opened('one')
    for (let guess = 0; guess < 5; guess++)
      expect(await check(wrong, silence)).toMatchObject({ outcome: 'unanswered' })
    // Not told from a wrong one either.
    expect(await check(code, silence)).toMatchObject({ outcome: 'unanswered' })
    expect(await check(code, no)).toMatchObject({ outcome: 'rejected', attemptsRemaining: 4 })
    // The provider's own is right as soon as it says so.
    const yes: Forward = () => Promise.resolve(true)
    expect(await check(wrong, yes)).toMatchObject({ outcome: 'verified' })
    const [row] = await requests.db.many(
      sql`select state, unanswered from otp_requests where id = ${requestId}`,
    )
    expect(row).toEqual({ state: 'verified', unanswered: 6 })
  })

  test('is compared five times with wrong and unanswered checks together', async () => {
    const { code, wrong, check } = await opened('one')
    for (let guess = 0; guess < 2; guess++) await check(wrong, silence)
    for (let guess = 0; guess < 3; guess++) await check(wrong, no)
    expect(await check(code, no)).toMatchObject({ outcome: 'rejected', attemptsRemaining: 1 })
  })
})

test('of a page is compared five times through that page, and as often through another one', async () => {
  const { requestId, code, wrong } = await opened('one')
  const pages = [randomId('otp'), randomId('otp')]
  for (const id of pages) await addPage(requests.db, { id, requestId })
  const check = (page: string | undefined, typed: string) =>
    checkCode(requests.db, requests.keyring, {
      ...{ ...requests.owner, by: { requestId: page ?? requestId }, code: typed, actor: 'test' },
      forward: silence,
    })
  for (let guess = 0; guess < 5; guess++)
    expect(await check(pages[0], wrong)).toMatchObject({ outcome: 'unanswered' })
  expect(await check(pages[0], code)).toMatchObject({ outcome: 'unanswered' })
  expect(await check(pages[1], code)).toMatchObject({ outcome: 'verified', requestId: pages[1] })
})

test('of a provider is checked through each page, whatever strangers tried through theirs', async () => {
  const { requestId, wrong } = await opened('one')
  const strangers = [randomId('otp'), randomId('otp')]
  const owner = randomId('otp')
  for (const id of [...strangers, owner]) await addPage(requests.db, { id, requestId })
  let asked = 0
  const check = (page: string, theirs: boolean) =>
    checkCode(requests.db, requests.keyring, {
      ...{ ...requests.owner, by: { requestId: page }, code: wrong, actor: 'test' },
      forward: () => {
        asked++
        return Promise.resolve(theirs)
      },
    })
  for (const page of strangers) for (let guess = 0; guess < 5; guess++) await check(page, false)
  // A page that has had its five has no more handed on.
  for (const page of strangers)
    expect(await check(page, true)).toMatchObject({ outcome: 'locked', requestId: page })
  expect(asked).toBe(10)
  await requests.db.many(sql`update check_budgets set wrong = '{}'
    where recipient_id = (select recipient_id from otp_requests where id = ${requestId})`)
  expect(await check(owner, true)).toMatchObject({ outcome: 'verified', requestId: owner })
})

test('a provider that refused to make a code is not asked about one', async () => {
  const { requestId, wrong, check, attemptIds } = await opened('one')
  const asked: string[] = []
  const ask: Forward = ({ codes }) => {
    asked.push(...codes.map(({ provider }) => provider))
    return Promise.resolve({ silent: ['one'] })
  }
  const ref = { requestId, attemptId: attemptIds[0] ?? '', runId: 'run' }
  await recordAnswer(requests.db, ref, { state: 'refused', fault: 'unavailable' })
  expect(await check(wrong, ask)).toMatchObject({ outcome: 'rejected', attemptsRemaining: 4 })
  expect(asked).toEqual([])
  // It may have made one all the same.
  await requests.db.many(sql`update attempts set state = 'in_doubt' where id = ${ref.attemptId}`)
  expect(await check(wrong, ask)).toMatchObject({ outcome: 'unanswered' })
  expect(asked).toEqual(['one'])
})

test('a provider that is known by the keys of yesterday and of today is asked once', async () => {
  const { requestId, wrong, check } = await opened('one')
  await requests.db.many(sql`insert into delegated_codes
    select provider, sha256(number_index), request_id, attempt_id, channel, expires_at, forwarded
    from delegated_codes where request_id = ${requestId}`)
  const asked: number[] = []
  await check(wrong, ({ codes }) => Promise.resolve(asked.push(codes.length) < 0))
  expect(asked).toEqual([1])
})

describe('of two providers that made codes', () => {
  test('only the one that gave no answer gets its check back', async () => {
    const { requestId, wrong, check } = await opened('one', 'two')
    const answer = await check(wrong, () => Promise.resolve({ silent: ['two'] }))
    expect(answer).toMatchObject({ outcome: 'unanswered' })
    expect(await forwardedOf(requestId)).toEqual([1, 0])
  })
})

test('a check that could not be handed on is given back', async () => {
  const { requestId, wrong, check } = await opened('one')
  const failing = () => Promise.reject(new UnknownKey('phones', 'gone'))
  await expect(check(wrong, failing)).rejects.toThrow(UnknownKey)
  expect(await forwardedOf(requestId)).toEqual([0])
  // The next one need not wait for it.
  expect(await check(wrong, no)).toMatchObject({ outcome: 'rejected', attemptsRemaining: 4 })
})
