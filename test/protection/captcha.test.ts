import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pino from 'pino'
import { type Challenges, createChallenges } from '../../api/challenges'
import type { ChallengeUse } from '../../api/challenges/challenge'
import { readChallengeAccounts } from '../../config/challenges'
import { createSandbox } from '../../sandbox'
import { challengeVendors, variablesFor } from '../../sandbox/vendors'
import { solvedByVendor } from '../harness/captcha'
import { solvedText } from '../harness/challenge'
import { closeServer, listen } from '../harness/listening'
import { requestsOnly } from '../harness/requests'

const vendors = ['turnstile', 'hcaptcha'] as const
type Vendor = (typeof vendors)[number]

let base: Awaited<ReturnType<typeof requestsOnly>>
let sandbox: ReturnType<typeof createSandbox>
let server: Server
let url: string
let variables: Record<string, string>
let said: string[]
let challenges: Challenges
/** Takes calls and never answers. */
let silent: Server
let silentUrl: string
const hanging: ServerResponse[] = []

beforeAll(async () => {
  base = await requestsOnly()
  server = createServer()
  url = await listen(server)
  variables = variablesFor(url, challengeVendors)
  const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
  const logger = pino({ level: 'silent' })
  sandbox = createSandbox({ secret, otpilotUrl: 'http://127.0.0.1:9', logger, variables })
  server.on('request', sandbox.app as RequestListener)
  silent = createServer((_request, response) => void hanging.push(response))
  silentUrl = await listen(silent)
})
afterAll(async () => {
  for (const response of hanging) response.destroy()
  await closeServer(silent)
  await sandbox.close()
  await closeServer(server)
  await base.close()
})
beforeEach(() => {
  challenges = challengesWith()
})

function challengesWith(given: Record<string, string> = {}): Challenges {
  said = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void said.push(line) })
  return createChallenges({
    ...base,
    accounts: readChallengeAccounts({ ...variables, ...given }),
    logger,
  })
}

const useOf = (kind: Vendor, given: Partial<ChallengeUse> = {}): ChallengeUse => ({
  app: 'app',
  action: 'send',
  accepted: { kinds: [kind] },
  ...given,
})

/** What a page does with an offer. */
async function solve(kind: Vendor, offered: ChallengeUse, more = {}): Promise<string> {
  const { [kind]: widget } = await challenges.offer(offered)
  if (!widget) throw new Error(`no ${kind} on offer`)
  return solvedByVendor(url, kind, { ...widget, ...more })
}

describe.each(vendors)('a challenge of %s', (kind) => {
  const use = useOf(kind)

  test('counts once, of 50 tries at once too', async () => {
    const text = await solve(kind, use)
    const tries = await Promise.all(
      Array.from({ length: 50 }, () => challenges.spend(text, { ...use, address: '198.51.100.7' })),
    )
    expect(tries.filter(({ outcome }) => outcome === 'solved')).toHaveLength(1)
    expect(tries.filter(({ outcome }) => outcome === 'refused')).toHaveLength(49)
    expect(await challenges.spend(text, use)).toEqual({ outcome: 'refused', why: 'unsolved' })
  })

  test('counts again for the same call, made again', async () => {
    const text = await solve(kind, use)
    const call = `call ${kind}`
    expect((await challenges.spend(text, { ...use, call })).outcome).toBe('solved')
    expect((await challenges.spend(text, { ...use, call })).outcome).toBe('solved')
    expect((await challenges.spend(text, { ...use, call: 'another' })).outcome).toBe('refused')
  })

  test('that nobody solved, or that is too old, is none', async () => {
    const old = await solve(kind, use, { age_seconds: 301 })
    for (const text of [old, `${kind}:`, `${kind}:made-up`, `${kind}:${'x'.repeat(4_000)}`])
      expect(await challenges.spend(text, use)).toEqual({ outcome: 'refused', why: 'unsolved' })
    expect(said).toEqual([])
  })

  test('comes from a page of the hosts that the app names', async () => {
    const accepted = { kinds: [kind], hosts: ['shop.example'] }
    const bound = useOf(kind, { accepted })
    const spend = async (more: object) =>
      (await challenges.spend(await solve(kind, bound, more), bound)).outcome
    expect(await spend({ hostname: 'Shop.example' })).toBe('solved')
    expect(await spend({ hostname: 'evil.example' })).toBe('refused')
    expect(await spend({ hostname: 'shop.example.evil.example' })).toBe('refused')
  })

  test('is not taken by an app that does not take its kind', async () => {
    const text = await solve(kind, use)
    const other = { ...use, accepted: { kinds: ['altcha' as const] } }
    expect(await challenges.spend(text, other)).toEqual({ outcome: 'refused', why: 'kind' })
    // And was not shown to the vendor for that.
    expect((await challenges.spend(text, use)).outcome).toBe('solved')
  })

  test('makes proof of work no substitute while the vendor answers', async () => {
    const text = await solvedText(await challenges.issue({ app: 'app' }))
    expect(await challenges.spend(text, use)).toEqual({ outcome: 'refused', why: 'kind' })
    const check = { ...use, action: 'verify' as const }
    expect((await challenges.spend(text, check)).outcome).toBe('solved')
  })

  test('gives way to proof of work while the vendor is down, for that app alone', async () => {
    const token = await solve(kind, use)
    await script(kind, { accept: { status: 503 } })
    try {
      expect((await challenges.spend(token, use)).outcome).toBe('unavailable')
    } finally {
      await script(kind, {})
    }
    expect(said).toHaveLength(1)
    expect(said[0]).not.toContain(token.slice(kind.length + 1))
    expect(said[0]).not.toContain(variables[`${kind.toUpperCase()}_SECRET`])
    const { kinds, altcha } = await challenges.standIn(use)
    expect(kinds).toEqual(['altcha'])
    if (!altcha) throw new Error('nothing to solve')
    const solved = await solvedText(altcha)
    expect((await challenges.spend(solved, { ...use, app: 'other' })).outcome).toBe('refused')
    // Another process takes it too: the challenge itself says that it stands in.
    expect((await challengesWith().spend(solved, use)).outcome).toBe('solved')
    expect((await challenges.spend(solved, use)).outcome).toBe('refused')
  })

  test('that is refused as it was called with is no outage, which anybody could make up', async () => {
    const good = await solve(kind, use)
    await script(kind, { accept: { status: 413 } })
    try {
      const outcome = await challenges.spend(`${kind}:${'x'.repeat(1_000)}`, use)
      expect(outcome).toEqual({ outcome: 'refused', why: 'unsolved' })
    } finally {
      await script(kind, {})
    }
    expect((await challenges.spend(good, use)).outcome).toBe('solved')
  })

  test('cannot be checked with a wrong secret: that is not the token’s fault', async () => {
    challenges = challengesWith({ [`${kind.toUpperCase()}_SECRET`]: 'mistyped' })
    const text = await solve(kind, use)
    expect((await challenges.spend(text, use)).outcome).toBe('unavailable')
    expect(said[0]).toContain('invalid-input-secret')
  })

  test('a vendor that hangs is waited for two seconds, once', async () => {
    challenges = challengesWith({ [`${kind.toUpperCase()}_BASE_URL`]: silentUrl })
    const asked = hanging.length
    const since = performance.now()
    const tries = [await challenges.spend(`${kind}:a`, use)]
    expect(performance.now() - since).toBeGreaterThan(1_900)
    tries.push(await challenges.spend(`${kind}:b`, use))
    expect(tries.map(({ outcome }) => outcome)).toEqual(['unavailable', 'unavailable'])
    expect(hanging.length - asked).toBe(1)
  })
})

describe('a token of Turnstile is bound', () => {
  const kind = 'turnstile'
  const spendFor = async (solvedFor: Partial<ChallengeUse>, usedFor: Partial<ChallengeUse>) => {
    const text = await solve(kind, useOf(kind, solvedFor))
    return challenges.spend(text, useOf(kind, usedFor))
  }

  test.each<[string, Partial<ChallengeUse>, Partial<ChallengeUse>, string]>([
    ['to its recipient', { recipient: '+233241' }, { recipient: '+233242' }, 'refused'],
    ['which may be this one', { recipient: '+233241' }, { recipient: '+233241' }, 'solved'],
    ['or not be known yet', {}, { recipient: '+233241' }, 'solved'],
    ['to its app', {}, { app: 'other' }, 'refused'],
    ['to the call', { action: 'send' }, { action: 'verify' }, 'refused'],
    ['which may be a check', { action: 'verify' }, { action: 'verify' }, 'solved'],
  ])('%s', async (_what, solvedFor, usedFor, outcome) => {
    expect(await spendFor(solvedFor, usedFor)).toMatchObject(
      outcome === 'solved' ? { outcome } : { outcome, why: 'binding' },
    )
  })

  test('and without what binds it is none', async () => {
    for (const more of [{ cdata: '' }, { action: '' }, { cdata: 'A'.repeat(38) }]) {
      const text = await solve(kind, useOf(kind), more)
      expect(await challenges.spend(text, useOf(kind))).toEqual({
        outcome: 'refused',
        why: 'binding',
      })
    }
  })

  test('by a text that tells its vendor nothing', async () => {
    const use = useOf(kind, { recipient: '+233241234567' })
    const texts = await Promise.all([challenges.offer(use), challenges.offer(use)])
    const [one, other] = texts.map(({ turnstile }) => turnstile?.cdata ?? '')
    expect(one).toMatch(/^[A-Za-z0-9_-]{38}$/)
    expect(one).not.toBe(other)
  })
})

test('proof of work that was asked for one call is not good for the other', async () => {
  const use = { app: 'app', action: 'send' as const, accepted: { kinds: ['altcha' as const] } }
  const text = await solvedText(await challenges.issue({ app: 'app', action: 'verify' }))
  expect((await challenges.spend(text, use)).outcome).toBe('refused')
  expect((await challenges.spend(text, { ...use, action: 'verify' })).outcome).toBe('solved')
})

test('a kind without an account is not on offer, and proof of work is instead', async () => {
  const bare = createChallenges({ ...base, logger: pino({ level: 'silent' }) })
  expect((await bare.offer(useOf('hcaptcha'))).kinds).toEqual(['altcha'])
})

const script = (kind: Vendor, scenario: object) =>
  fetch(`${url}/scenarios/${kind}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(scenario),
  })
