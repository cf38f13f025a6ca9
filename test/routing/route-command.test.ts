import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { dataFolder, rememberFakes } from '../../cli/data-folder'
import { writeVariables } from '../../cli/dotenv'
import { variablesOfFakes } from '../../cli/with-fakes'
import { createDatabase, type Database } from '../../db'
import { createApp } from '../../db/apps/apps'
import { freshDatabase } from '../harness/database'

const root = resolve(__dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'otpilot-route-'))
const policyFile = join(folder, 'policy.json')
let db: Database
let databaseUrl: string
let drop: () => Promise<void>

const accounts = [
  { name: 'first', adapter: 'sandbox', channels: ['sms', 'voice'], test: true },
  { name: 'second', adapter: 'sandbox', channels: ['sms'], test: true, region: 'gh' },
  { name: 'twilio-gh', adapter: 'twilio', channels: ['sms', 'whatsapp'], test: false },
]
const policy = {
  version: 1,
  accounts,
  channels: { phone: ['sms', 'voice', 'whatsapp'], email: ['email'] },
  rules: [
    {
      name: 'Ghana',
      when: { countries: ['GH'] },
      providers: { sms: { first: 1, second: 1 } },
      steps: { sms: { timeoutMs: 20_000, successBy: { second: 'accepted' } } },
    },
  ],
  costs: { currency: 'USD', prices: [{ channel: 'sms', to: 'GH', amount: '0.03' }] },
}

beforeAll(async () => {
  const fresh = await freshDatabase()
  ;({ drop, url: databaseUrl } = fresh)
  db = createDatabase(fresh.url)
  await createApp(db, { id: 'shop', name: 'Shop' })
  await createApp(db, { id: 'ghana', name: 'Ghana', region: 'gh', defaultCountry: 'GH' })
  writeFileSync(policyFile, JSON.stringify(policy))
})
afterAll(async () => {
  await db.close()
  await drop()
  rmSync(folder, { recursive: true })
})

const sandbox = { SANDBOX_URL: 'http://127.0.0.1:9', SANDBOX_SECRET: `whsec_${'A'.repeat(43)}=` }

/** As a program of its own, with no environment but what is given. */
const otpilot = (words: string[], env: NodeJS.ProcessEnv = {}) =>
  new Promise<{ code: number; out: string; err: string }>((done) =>
    execFile(
      process.execPath,
      ['--import', 'tsx', join(root, 'cli/otpilot.ts'), ...words],
      {
        cwd: root,
        env: {
          ...{ PATH: process.env.PATH, OTPILOT_DATA_DIR: folder, OTPILOT_ENV: 'development' },
          ...{ OTPILOT_POLICY_FILE: policyFile, ...sandbox, ...env },
        },
      },
      (error, out, err) => done({ code: error ? Number(error.code) : 0, out, err }),
    ),
  )

describe('otpilot route', () => {
  test('says the plan and why, in lines, without the number', async () => {
    const number = '+233241234567'
    const { code, out } = await otpilot(['route', number, '--channel', 'voice', '--app', 'shop'], {
      DATABASE_URL: databaseUrl,
    })
    expect(code).toBe(0)
    expect(out.trimEnd().split('\n')).toEqual([
      'To a number of GH, by a test key (staging) of the app "shop", at normal risk.',
      `Policy: ${policyFile}. Rules for this send: "Ghana".`,
      '',
      '1. voice (asked for): answered within 60 s, else the next channel; after a doubt resend',
      '   first: in the order of the accounts',
      '2. sms (in the order of the policy): delivered within 20 s, else the next channel; after a doubt resend',
      '   first: drawn by weight by the rule "Ghana" (differs from request to request: --request shows one); 0.03 USD',
      '   second: drawn by weight by the rule "Ghana" (differs from request to request: --request shows one); 0.03 USD; success when accepted',
      '   not twilio-gh: for live keys only',
      '',
      'Not in the plan:',
      '-  whatsapp (in the order of the policy): no account can be used',
      '   not twilio-gh: for live keys only',
      '-  ussd: not named in the order of channels',
    ])
    expect(out).not.toContain(number.slice(4))
  })

  test('reads what is known of accounts and apps from the database, and says so when it cannot', async () => {
    await db.many(sql`insert into provider_breakers (provider, channel, open, opened_at, probe_at)
      values ('first', 'sms', true, now(), now() + interval '1 minute')`)
    const words = ['route', '+233241234567', '--json', '--request', 'otp_1']
    const withDb = await otpilot(words, { DATABASE_URL: databaseUrl })
    const seen = JSON.parse(withDb.out) as Answer
    expect(seen.notes).toEqual(['There is no app "demo": it counts as one without settings.'])
    expect(seen.channels[0]?.providers[1]).toMatchObject({
      name: 'first',
      reason: 'tried last: it failed often of late',
    })
    await db.many(sql`update provider_breakers set open = false`)
    const gone = await otpilot(words, { DATABASE_URL: 'postgresql://127.0.0.1:9/none' })
    expect((JSON.parse(gone.out) as Answer).notes).toEqual([
      'The database does not answer: every account counts as healthy, and the app as one without settings.',
    ])
  }, 90_000)

  test('uses the region and the country of the app', async () => {
    const { out, code } = await otpilot(['route', '024 123 4567', '--app', 'ghana', '--json'], {
      DATABASE_URL: databaseUrl,
    })
    const { country, region, channels } = JSON.parse(out) as Answer
    expect([code, country, region]).toEqual([0, 'GH', 'gh'])
    expect(channels.filter((channel) => channel.in_plan)).toEqual([
      expect.objectContaining({
        ...{ channel: 'sms', success: 'delivered', success_by: { second: 'accepted' } },
        ...{ timeout_ms: 20_000, on_doubt: 'resend', cost: { amount: '0.03', currency: 'USD' } },
      }),
    ])
    expect(channels[0]?.providers).toContainEqual({
      ...{ name: 'first', used: false, reason: 'not in the region of the app' },
    })
  }, 60_000)

  test('knows the providers that npm start -- --with-fakes plays', async () => {
    const data = dataFolder(mkdtempSync(join(tmpdir(), 'otpilot-route-data-')))
    writeVariables(data.envFile, 'as npm start', { SANDBOX_URL: sandbox.SANDBOX_URL })
    const words = ['route', '+233241234567', '--channels', 'sms', '--env', 'production', '--json']
    const asked = async () =>
      JSON.parse(
        (await otpilot(words, { OTPILOT_DATA_DIR: data.path, OTPILOT_POLICY_FILE: '' })).out,
      ) as Answer
    rememberFakes(data, variablesOfFakes(['--with-fakes=arkesel'], {}, sandbox.SANDBOX_URL))
    const played = await asked()
    expect(played.refusal).toBeNull()
    const arkesel = { name: 'arkesel', used: true }
    expect(played.channels[0]?.providers[0]).toMatchObject(arkesel)
    // The next start without them forgets.
    rememberFakes(data, {})
    expect((await asked()).refusal).toContain('CHANNEL_UNAVAILABLE')
    rmSync(data.path, { recursive: true })
  }, 60_000)

  test('says what a send would be refused with, and which variables are missing', async () => {
    const { code, out } = await otpilot([
      ...['route', '+233241234567', '--channels', 'whatsapp', '--env', 'production'],
    ])
    expect(code).toBe(1)
    expect(out).toContain(
      'Such a send is refused. CHANNEL_UNAVAILABLE: No provider account serves the channel whatsapp for a live key: twilio-gh: off, its settings do not suffice.',
    )
    expect(out).toContain('Provider account "twilio-gh" is off: TWILIO_GH_ACCOUNT_SID')
    expect(out).toContain('DATABASE_URL is not set')
  }, 60_000)

  test('refuses what is no number, channel or risk, in one line', async () => {
    for (const words of [
      ['12'],
      ['+233241234567', '--risk', 'none'],
      ['+233241234567', '--channels', 'fax'],
    ]) {
      const { code, out, err } = await otpilot(['route', ...words])
      expect([code, out]).toEqual([1, ''])
      expect(err.trim().split('\n')).toHaveLength(1)
    }
  }, 60_000)

  test('finds what npm start has made in its data folder', async () => {
    writeFileSync(join(folder, 'env'), 'SANDBOX_URL=http://127.0.0.1:9\n')
    writeFileSync(join(folder, 'secrets.json'), JSON.stringify({ sandbox: sandbox.SANDBOX_SECRET }))
    const bare = { SANDBOX_URL: '', SANDBOX_SECRET: '', OTPILOT_ENV: '' }
    const { out, code } = await otpilot(['route', '+4915123456789', '--json'], bare)
    const { environment, channels } = JSON.parse(out) as Answer
    expect([code, environment, channels[0]?.in_plan]).toEqual([0, 'staging', true])
  }, 60_000)
})

describe('otpilot policy', () => {
  test('check names every fault by line and field', async () => {
    const bad = join(folder, 'bad.json')
    writeFileSync(bad, JSON.stringify({ ...policy, version: 7, extra: 1 }, null, 2))
    expect(await otpilot(['policy', 'check'])).toMatchObject({ code: 0, out: '' })
    const { code, err } = await otpilot(['policy', 'check', bad])
    expect([code, err.trim().split('\n')]).toEqual([
      1,
      [
        expect.stringMatching(/bad\.json:\d+: extra: there is no such section$/),
        `${bad}:2: version: this version of otpilot reads version 1`,
      ],
    ])
  }, 60_000)
})

interface Answer {
  refusal: string | null
  country: string
  environment: string
  region: string | null
  notes: string[]
  channels: {
    channel: string
    in_plan: boolean
    providers: { name: string; used: boolean; reason: string }[]
  }[]
}
