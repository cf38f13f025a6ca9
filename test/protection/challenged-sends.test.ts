import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { Challenge } from 'altcha-lib'
import type { ChallengeSettings } from '../../core/protection/protection'
import { raiseBlock } from '../../db/protection/blocks'
import { createApiKey } from '../../db/apps/api-keys'
import { solvedByVendor } from '../harness/captcha'
import { solvedText } from '../harness/challenge'
import { type Answer, clientOf, type TestClient } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, shown, visitorsOf } from '../harness/visitor'

/** What a refusal says of challenges. */
interface Refusal {
  error_code: string
  action?: string
  detail: string
  challenge?: {
    kinds: string[]
    altcha?: Challenge
    turnstile?: { site_key: string; action: string; cdata: string }
    hcaptcha?: { site_key: string }
  }
}

let system: System
/** By a production key, which fraud rules act on. */
let live: TestClient
let staging: TestClient

beforeAll(async () => {
  system = await startSystem({
    withWorker: false,
    trustProxy: { hops: 1 },
    fakes: ['twilio', 'turnstile', 'hcaptcha'],
    channels: ['sms'],
  })
  live = clientOf(system, system.liveKey)
  staging = clientOf(system)
  // Something is wrong with these numbers, and nobody knows yet with which of them.
  for (const environment of ['production', 'staging'] as const)
    await raiseBlock(system.db, {
      appId: 'app',
      environment,
      label: '+24381',
      finding: {
        ...{ rule: 'range_velocity', scope: 'range', asks: 'challenge', count: 9, limit: 8 },
        name: `${environment}|app|range|+243810`,
      },
    })
})
afterAll(() => system?.stop())
afterEach(() => takes(undefined))

const takes = (challenges: ChallengeSettings | undefined) => {
  system.policy.protection = {
    ...system.policy.protection,
    challenges: challenges && { kinds: [...challenges.kinds], hosts: undefined },
  }
}

let last = 0
/** In the range above, each in a block of its own. */
const doubtful = () => `+243810${String(++last % 100).padStart(2, '0')}0001`

const send = async (given: object, headers = {}, client = live) =>
  client.call<Refusal & { status?: string; request_id?: string }>(
    'POST',
    '/otp/send',
    { ip_address: `203.0.113.${++last % 250}`, ...given },
    headers,
  )
const said = ({ status, body }: Answer<Refusal & { status?: string }>) =>
  `${status} ${body.error_code ?? body.status}`
const solved = async ({ body }: Answer<Refusal>): Promise<string> => {
  if (!body.challenge?.altcha) throw new Error('nothing to solve was given')
  return solvedText(body.challenge.altcha)
}

describe('a send that the rules doubt', () => {
  test('asks a back end for a challenge, says how, and goes out with it', async () => {
    const phone_number = doubtful()
    const asked = await send({ phone_number })
    expect(said(asked)).toBe('403 CHALLENGE_REQUIRED')
    expect(asked.body).toMatchObject({
      action: 'solve_challenge',
      challenge: { kinds: ['altcha'] },
    })
    const challenge = await solved(asked)
    expect(said(await send({ phone_number, challenge }))).toBe('200 sent')
    expect(said(await send({ phone_number: doubtful(), challenge }))).toBe('403 INVALID_CHALLENGE')
    const verdicts = await system.db.many<{ verdict: string }>(
      sql`select verdict from send_decisions where environment = 'production' order by id`,
    )
    expect(verdicts.map(({ verdict }) => verdict)).toEqual(['challenge', 'allowed'])
  })

  test('goes out with one of GET /otp/challenge too, by a key that may only send', async () => {
    const { key } = await createApiKey(system.db, {
      ...{ appId: 'app', environment: 'production', scopes: ['send'] },
    })
    const sender = clientOf(system, key)
    const { body } = await sender.call<Challenge>('GET', '/otp/challenge?action=send')
    const challenge = await solvedText(body)
    expect(said(await send({ phone_number: doubtful(), challenge }, {}, sender))).toBe('200 sent')
    const wrong = await sender.call('GET', '/otp/challenge?action=steal')
    expect(shown(wrong)).toBe('400 INVALID_REQUEST')
  })

  test('is one send however often it is made again with its challenge', async () => {
    const phone_number = doubtful()
    const body = { phone_number, ip_address: '203.0.113.251', channel: 'sms' }
    const challenge = await solved(await send(body))
    const again = () => send({ ...body, challenge }, { 'idempotency-key': 'doubt-1' })
    const answers = await Promise.all(Array.from({ length: 20 }, again))
    answers.push(await again())
    expect([...new Set(answers.map(said))]).toEqual(['200 sent'])
    expect(new Set(answers.map((answer) => answer.body.request_id)).size).toBe(1)
    const other = await send({ ...body, challenge }, { 'idempotency-key': 'doubt-2' })
    expect(said(other)).toBe('403 INVALID_CHALLENGE')
  })

  test('goes out without one by a test key, whose rules only observe', async () => {
    expect(said(await send({ phone_number: doubtful() }, {}, staging))).toBe('200 sent')
  })
})

describe('a challenge that nobody asked for', () => {
  test('is spent where it is given, and has to be solved', async () => {
    const { body } = await staging.call<Challenge>('GET', '/otp/challenge')
    const challenge = await solvedText(body)
    expect(said(await send({ phone_number: '+233241000001', challenge }, {}, staging))).toBe(
      '200 sent',
    )
    for (const used of [challenge, 'nonsense'])
      expect(
        said(await send({ phone_number: '+233241000002', challenge: used }, {}, staging)),
      ).toBe('403 INVALID_CHALLENGE')
  })
})

describe.each(['turnstile', 'hcaptcha'] as const)('an app that takes %s', (kind) => {
  test('gets the site key, and takes nothing else', async () => {
    takes({ kinds: [kind] })
    const phone_number = doubtful()
    const asked = await send({ phone_number })
    const { challenge: offer } = asked.body
    expect(offer?.kinds).toEqual([kind])
    expect(offer?.altcha).toBeUndefined()
    const widget = offer?.[kind]
    if (!widget) throw new Error('no site key')

    const { body: work } = await live.call<Challenge & { kinds: string[] }>('GET', '/otp/challenge')
    expect(work.kinds).toEqual([kind])
    const refused = await send({ phone_number, challenge: await solvedText(work) })
    expect(said(refused)).toBe('403 INVALID_CHALLENGE')
    expect(refused.body).toMatchObject({
      detail: expect.stringContaining('challenge.kinds'),
      challenge: { kinds: [kind] },
    })

    const challenge = await solvedByVendor(system.sandboxUrl, kind, widget)
    expect(said(await send({ phone_number: '+1', challenge }))).toBe('400 INVALID_NUMBER')
    expect(said(await send({ phone_number, challenge }))).toBe('200 sent')
    expect(said(await send({ phone_number, challenge }))).toBe('403 INVALID_CHALLENGE')
  })
})

test('pages are told which kinds there are, and hear no reasons', async () => {
  takes({ kinds: ['turnstile', 'altcha'] })
  const page = visitorsOf(system, await publishableKeyOf(system))()
  const { body } = await page.call('GET', '/otp/challenge')
  expect(body).toMatchObject({
    kinds: ['turnstile', 'altcha'],
    turnstile: { action: 'otp_send', site_key: expect.any(String) },
  })
  const asked = await page.call('POST', '/otp/send', { phone_number: '+233241000003' })
  expect(shown(asked)).toBe('403 CHALLENGE_REQUIRED')
  expect(asked.body.challenge).toMatchObject({ kinds: ['turnstile', 'altcha'] })
  const { turnstile } = body as { turnstile: { site_key: string; action: string; cdata: string } }
  const foreign = await solvedByVendor(system.sandboxUrl, 'turnstile', { ...turnstile, cdata: '' })
  const refused = await page.send('+233241000003', { challenge: foreign })
  expect(shown(refused)).toBe('403 INVALID_CHALLENGE')
  expect(refused.body.detail).not.toContain('cdata')
  const challenge = await solvedByVendor(system.sandboxUrl, 'turnstile', turnstile)
  expect(shown(await page.send('+233241000003', { challenge }))).toBe('200 sent')
  expect(shown(await page.send('+233241000004'))).toBe('200 sent')
})

describe('a check of a recipient who is guessed at', () => {
  /** Twenty wrong codes in this day: nothing passes but a solved challenge. */
  async function guessedAt() {
    const sent = await send({ phone_number: `+23324${String(2_000_000 + ++last)}` }, {}, staging)
    await system.db.many(sql`
      insert into check_budgets (recipient_id, environment, wrong, consecutive)
      select recipient_id, environment, array_fill(now() - interval '2 hours', array[20]), 20
      from otp_requests where id = ${sent.body.request_id}
      on conflict (recipient_id, environment) do update set wrong = excluded.wrong`)
    return { request_id: String(sent.body.request_id), code: '000000' }
  }
  const check = async (given: object) =>
    staging.call<Refusal & { status?: string }>('POST', '/otp/verify', given)

  test('takes what the app takes, for a check and not for a send, and proof of work', async () => {
    takes({ kinds: ['turnstile'] })
    const guess = await guessedAt()
    expect(said(await check(guess))).toBe('429 TOO_MANY_CHECKS')
    const offerFor = async (action: string) =>
      (
        await staging.call<NonNullable<Refusal['challenge']>>(
          'GET',
          `/otp/challenge?action=${action}`,
        )
      ).body
    const { kinds, turnstile } = await offerFor('verify')
    expect(kinds).toEqual(['turnstile', 'altcha'])
    const { turnstile: forSends } = await offerFor('send')
    if (!turnstile || !forSends) throw new Error('no site key')
    const wrong = await solvedByVendor(system.sandboxUrl, 'turnstile', forSends)
    expect(said(await check({ ...guess, challenge: wrong }))).toBe('403 INVALID_CHALLENGE')
    const right = await solvedByVendor(system.sandboxUrl, 'turnstile', turnstile)
    expect(said(await check({ ...guess, challenge: right }))).toBe('200 INVALID_CODE')
    const work = await staging.call<Challenge>('GET', '/otp/challenge?action=verify')
    const other = { ...(await guessedAt()), challenge: await solvedText(work.body) }
    expect(said(await check(other))).toBe('200 INVALID_CODE')
  })
})

test('nothing of a token, a number or an address is kept', async () => {
  takes({ kinds: ['hcaptcha'] })
  const [phone_number, ip_address] = [doubtful(), '203.0.113.99']
  const widget = (await send({ phone_number })).body.challenge?.hcaptcha
  if (!widget) throw new Error('no site key')
  const challenge = await solvedByVendor(system.sandboxUrl, 'hcaptcha', widget)
  const headers = { 'idempotency-key': 'kept-1' }
  expect(said(await send({ phone_number, ip_address, challenge }, headers))).toBe('200 sent')
  const spent = await system.db.many(sql`select * from spent_challenges`)
  const text = JSON.stringify(spent)
  for (const secret of [phone_number, phone_number.slice(1), challenge.slice(9), ip_address])
    expect(text).not.toContain(secret)
})

// Last: a vendor that was down is not asked again for some seconds.
describe.each(['turnstile', 'hcaptcha'] as const)('an app that takes %s', (kind) => {
  test('takes proof of work while the vendor is down, and nothing unseen', async () => {
    takes({ kinds: [kind] })
    const phone_number = doubtful()
    const widget = (await send({ phone_number })).body.challenge?.[kind]
    if (!widget) throw new Error('no site key')
    const challenge = await solvedByVendor(system.sandboxUrl, kind, widget)
    await live.script(kind, { accept: { hang: true } })
    const instead = await send({ phone_number, challenge })
    await live.script(kind, {})
    expect(said(instead)).toBe('403 CHALLENGE_REQUIRED')
    expect(instead.body.challenge?.kinds).toEqual(['altcha'])
    expect(said(await send({ phone_number, challenge: await solved(instead) }))).toBe('200 sent')
  })
})
