import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import pino from 'pino'
import { captchaVerifier, hcaptcha, turnstile } from '../../api/challenges/captcha'
import { callHook } from '../../api/protection/hook-call'
import { openKeyFile } from '../../codes/key-file'
import { readCamara } from '../../config/carriers'
import type { CallableHook } from '../../db/apps/pre-send-hooks'
import { createGuardedDispatcher } from '../../events/dispatcher'
import { post } from '../../events/post'
import { createProviders } from '../../providers'
import { camaraSimSwap } from '../../providers/camara'
import { createDispatcher } from '../../providers/http'
import { accountAt, httpCalls, messageOn } from '../harness/adapters'
import { startRecorder } from '../harness/recorder'
import { tempKeyFile } from '../harness/seed'

const { version } = JSON.parse(
  readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8'),
) as {
  version: string
}
const named = `otpilot/${version}`

let service: Awaited<ReturnType<typeof startRecorder>>
beforeAll(async () => {
  service = await startRecorder()
})
afterAll(() => service.close())
beforeEach(() => void (service.calls.length = 0))

const soon = () => AbortSignal.timeout(5_000)
/** Whatever comes of a call, it was made. */
const tried = async (call: Promise<unknown> | undefined) => {
  await call?.catch(() => undefined)
}
function expectNamed(least = 1) {
  expect(service.calls.length).toBeGreaterThanOrEqual(least)
  expect(new Set(service.calls.map(({ headers }) => headers['user-agent']))).toEqual(
    new Set([named]),
  )
}

test.each(httpCalls)('calls of %s on %s say who calls', async (name, channel) => {
  const account = accountAt(name, service.url)
  const outcome = { requestId: 'otp_abc', providerMessageId: 'SM1', outcome: 'verified' } as const
  await tried(account.sender.send(messageOn(channel), soon()))
  await tried(account.pinger?.ping(soon()))
  await tried(account.outcomes?.reportOutcome(outcome, soon()))
  await tried(account.lookup?.lookUp('+233241234567', soon()))
  await tried(account.simSwap?.hasChanged('+233241234567', { withinHours: 1 }, soon()))
  await tried(
    account.poller?.pollReceipts([{ attemptId: 'att_1', providerMessageId: 'm', channel }], soon()),
  )
  await tried(
    account.reconciler?.reconcile(
      { attemptId: 'att_1', channel, to: '+233241234567', claimedAt: new Date() },
      soon(),
    ),
  )
  expectNamed(2)
})

test('so do those to the sandbox and to a gateway of one’s own', async () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
  const accounts = createProviders(
    [
      { name: 'sandbox-a', adapter: 'sandbox', channels: ['sms'], test: true },
      { name: 'webhook', adapter: 'webhook', channels: ['sms'], test: false },
    ],
    {
      ...{ SANDBOX_URL: service.url, SANDBOX_SECRET: secret },
      ...{ OTPILOT_GATEWAY_URL: service.url, OTPILOT_GATEWAY_SECRET: secret },
    },
  )
  for (const { sender } of accounts.values()) await tried(sender.send(messageOn('sms'), soon()))
  expectNamed(2)
})

test('so do those to an operator, for a token and for a SIM card', async () => {
  service.answerWith(() => ({ body: JSON.stringify({ access_token: 't', expires_in: 60 }) }))
  const account = readCamara({
    CAMARA_SIM_SWAP_URL: service.url,
    CAMARA_TOKEN_URL: `${service.url}/token`,
    CAMARA_CLIENT_ID: 'id',
    CAMARA_CLIENT_SECRET: 'secret',
  })
  if (!account) throw new Error('no account')
  const check = camaraSimSwap(account, createDispatcher())
  await tried(check.hasChanged('+233241234567', { withinHours: 1 }, soon()))
  expectNamed(2)
})

test.each([turnstile, hcaptcha])('so do those to vendors of challenges: $name', async (vendor) => {
  const keyring = openKeyFile(tempKeyFile(), { strict: true })
  const account = { siteKey: 'site', secret: 'secret', baseUrl: service.url }
  const log = pino({ level: 'silent' })
  const dispatcher = createDispatcher()
  const verify = captchaVerifier(vendor, account, { keyring, dispatcher, logger: log })
  await verify('a-token', { app: 'app', action: 'send', accepted: { kinds: [vendor.name] } })
  keyring.close()
  expectNamed()
})

test('so do events, Slack’s messages, and hooks', async () => {
  const reach = { isProduction: false }
  const dispatcher = createGuardedDispatcher(reach)
  await post({ dispatcher, reach }, { url: service.url, headers: {}, body: '{}' })
  const secrets = () => [Buffer.alloc(32, 7).toString('base64')]
  const hook: CallableHook = { appId: 'app', url: service.url, onFailure: 'allow', secrets }
  await callHook({ dispatcher, reach }, hook, {})
  await dispatcher.destroy()
  expectNamed(2)
})
