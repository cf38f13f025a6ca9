import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { createApi } from '../../api/app'
import { carrierFaults, readCamara } from '../../config/carriers'
import { readPolicy, readPolicyText } from '../../config/policy'
import { createDispatcher } from '../../providers/http'
import { camaraSimSwap } from '../../providers/camara'
import type { SimSwapCheck } from '../../providers/provider'
import { apiDepsOf } from '../harness/api-deps'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

/** Plays an operator: hands tokens out, and checks them. */
const operator = {
  asked: [] as { path: string; authorization: string; body: string }[],
  tokens: 0,
  status: 200,
  answer: { swapped: false } as object,
  token: {} as object,
}
const server = createServer((request, response) => void reply(request, response))
async function reply(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { url: path = '', headers } = request
  operator.asked.push({
    path,
    authorization: headers.authorization ?? '',
    body: await text(request),
  })
  const isToken = path === '/token'
  if (isToken) operator.tokens++
  const given = { access_token: `token-${operator.tokens}`, expires_in: 3_600, ...operator.token }
  const isGood = isToken || headers.authorization === `Bearer token-${operator.tokens}`
  response.writeHead(isToken ? 200 : isGood ? operator.status : 401, {
    'content-type': 'application/json',
  })
  response.end(JSON.stringify(isToken ? given : operator.answer))
}

const fresh = { asked: [], tokens: 0, status: 200, answer: { swapped: false }, token: {} }
let url: string
let check: SimSwapCheck
beforeAll(async () => {
  url = await listen(server)
})
afterAll(() => closeServer(server))
afterEach(() => void Object.assign(operator, { ...fresh, asked: [] }))

const variablesAt = (base: string) => ({
  CAMARA_SIM_SWAP_URL: `${base}/sim-swap/v2/`,
  CAMARA_TOKEN_URL: `${base}/token`,
  CAMARA_CLIENT_ID: 'ot:pilot',
  CAMARA_CLIENT_SECRET: 'the secret',
})
function checkAt(base: string): SimSwapCheck {
  const account = readCamara(variablesAt(base))
  if (!account) throw new Error('no account')
  return camaraSimSwap(account, createDispatcher())
}
const ask = (number = '+34600000001') =>
  check.hasChanged(number, { withinHours: 72 }, AbortSignal.timeout(5_000))

describe('a SIM check by CAMARA', () => {
  beforeAll(() => void (check = checkAt(url)))

  test('asks with a token of the client, which all calls share until it ends', async () => {
    expect(await Promise.all([ask(), ask('+34600000002'), ask()])).toEqual([false, false, false])
    operator.answer = { swapped: true }
    expect(await ask()).toBe(true)
    const [token, first] = operator.asked
    expect(operator.tokens).toBe(1)
    expect(token).toMatchObject({
      path: '/token',
      authorization: `Basic ${Buffer.from('ot%3Apilot:the%20secret').toString('base64')}`,
    })
    expect(Object.fromEntries(new URLSearchParams(token?.body))).toEqual({
      grant_type: 'client_credentials',
      scope: 'dpv:FraudPreventionAndDetection sim-swap:check',
    })
    expect(first?.path).toBe('/sim-swap/v2/check')
    expect(JSON.parse(first?.body ?? '')).toEqual({ phoneNumber: '+34600000001', maxAge: 72 })
  })

  test('has another token after one that is refused, and after a short one', async () => {
    // The operator counts anew: the token of before is none.
    operator.tokens = 6
    await expect(ask()).rejects.toThrow('401')
    operator.token = { expires_in: '1' }
    expect(await ask()).toBe(false)
    expect(await ask()).toBe(false)
    expect(operator.tokens).toBe(8)
  })

  test.each([
    ['refuses', { status: 404, answer: { code: 'IDENTIFIER_NOT_FOUND', message: '+34600000001' } }],
    ['does not say', { answer: { swapped: 'perhaps' } }],
    ['gives no token', { token: { access_token: '' } }],
  ])('that the operator %s says nothing, and nothing of the number', async (_title, given) => {
    check = checkAt(url)
    Object.assign(operator, given)
    const fault = await ask().catch((error: unknown) => error)
    expect(fault).toMatchObject({ name: 'ProviderFault' })
    expect(String(fault)).not.toContain('600000001')
    Object.assign(operator, { status: 200, answer: { swapped: false }, token: {} })
    expect(await ask()).toBe(false)
  })
})

describe('in the path of a send', () => {
  let system: System
  let live: TestClient
  let api: ReturnType<typeof createServer>
  beforeAll(async () => {
    system = await startSystem({ fakes: ['twilio'], channels: ['sms'] })
    system.policy.protection = { simSwap: { provider: 'camara', maxAgeHours: 24 } }
    const deps = apiDepsOf(system, { camara: checkAt(url) })
    api = createServer(createApi(deps) as never)
    live = clientOf({ ...system, url: await listen(api) }, system.liveKey)
  })
  afterAll(async () => {
    await closeServer(api)
    await system.stop()
  })

  test('a changed card asks for a challenge where the risk is high', async () => {
    operator.answer = { swapped: true }
    expect((await live.send(freshPhone(), { risk: 'high' })).body.error_code).toBe(
      'CHALLENGE_REQUIRED',
    )
    expect((await live.send(freshPhone())).status).toBe(200)
    operator.answer = { swapped: false }
    expect((await live.send(freshPhone(), { risk: 'high' })).status).toBe(200)
  })

  test('no test key asks an operator; a process without one has no answer', async () => {
    expect((await clientOf(system).send(freshPhone(), { risk: 'high' })).status).toBe(200)
    expect(operator.asked).toEqual([])
    expect((await clientOf(system, system.liveKey).send(freshPhone())).body.error_code).toBe(
      'CHALLENGE_REQUIRED',
    )
  })
})

describe('its settings', () => {
  const read = (protection: object, more: object = {}) => {
    const shipped = JSON.parse(readPolicyText(undefined) ?? '{}') as object
    return readPolicy(JSON.stringify({ ...shipped, protection, ...more }), 'policy.json')
  }
  const wanted = { simSwap: { provider: 'camara', maxAgeHours: 24 } }

  test('are asked for where the policy names it, and whole', () => {
    const reading = read({ overrides: [{ name: 'Spain', when: { countries: ['ES'] }, ...wanted }] })
    if (!reading.success) throw new Error(reading.faults.join(' '))
    const faults = (variables: Record<string, string>, isProduction = false) =>
      carrierFaults(reading.policy, variables, { isProduction })
    expect(faults(variablesAt('https://operator.example'), true)).toEqual([])
    expect(faults({})).toHaveLength(4)
    expect(faults({ ...variablesAt(url), CAMARA_CLIENT_ID: '' })).toEqual([
      'CAMARA_CLIENT_ID: required for SIM checks by CAMARA',
    ])
    expect(faults(variablesAt(url), true)).toHaveLength(2)
    expect(faults({ ...variablesAt(url), CAMARA_TOKEN_URL: 'ftp://x' })).toEqual([
      'CAMARA_TOKEN_URL: must be an http or https address',
    ])
    expect(carrierFaults(undefined, {}, { isProduction: true })).toEqual([])
    expect(readCamara({})).toBeUndefined()
  })

  test('its name is no account’s, and it knows nothing of kinds of lines', () => {
    expect(read({ lookup: { provider: 'camara' } })).toMatchObject({ success: false })
    const account = { name: 'camara', adapter: 'webhook', channels: ['sms'], test: false }
    expect(read({}, { accounts: [account] })).toMatchObject({ success: false })
  })
})
