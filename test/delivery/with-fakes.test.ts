import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { readVariables, type Variables } from '../../cli/dotenv'
import { freePort } from '../../cli/ports'
import { clustersOf } from '../../cli/postgres'
import { vendors } from '../../sandbox/vendors'
import { httpCalls } from '../harness/adapters'
import { clientOf, type TestClient, until } from '../harness/client'

const portNames = ['PORT', 'SANDBOX_PORT', 'TEMPORAL_PORT', 'TEMPORAL_UI_PORT', 'PGPORT'] as const

let folder: string
let taken: Server
let start: ChildProcess
let said = ''
let exit: Promise<unknown>
/** What whoever made the database may have in the shell that starts the system. */
const ofOwners = {
  SUPERUSER_DATABASE_URL: 'postgresql://owner:hidden@127.0.0.1/otpilot',
  POSTGRES_PASSWORD: 'hidden',
  TEMPORAL_POSTGRES_PASSWORD: 'hidden',
}
let variables: Variables
let client: TestClient

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'otpilot-fakes-'))
  chmodSync(folder, 0o755)
  const ports = await Promise.all(portNames.map(freePort))
  // Where another copy's sandbox may be: mail has to find a port of its own.
  taken = createServer().listen((ports[1] ?? 0) + 1_000, '127.0.0.1')
  const { PATH, HOME, XDG_CACHE_HOME, TEMPORAL_CLI } = process.env
  start = spawn(process.execPath, ['cli/bootstrap.mjs', 'cli/start.ts', '--with-fakes'], {
    cwd: resolve(__dirname, '..', '..'),
    env: {
      ...{ PATH, HOME, XDG_CACHE_HOME, TEMPORAL_CLI, OTPILOT_DATA_DIR: folder },
      ...ofOwners,
      ...Object.fromEntries(portNames.map((name, i) => [name, String(ports[i])])),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  exit = new Promise((done) => start.once('close', done))
  for (const stream of [start.stdout, start.stderr])
    stream?.on('data', (chunk) => (said += String(chunk)))
  await until(() => Promise.resolve(said.includes('otpilot is ready')), { within: 50_000 }).catch(
    () => {
      throw new Error(`npm start -- --with-fakes does not get ready:\n${said}`)
    },
  )
  variables = readVariables(join(folder, 'env'))
  const { OTPILOT_URL = '', SANDBOX_URL = '', OTPILOT_LIVE_KEY = '' } = variables
  client = clientOf({ url: OTPILOT_URL, sandboxUrl: SANDBOX_URL, key: OTPILOT_LIVE_KEY })
})

afterAll(async () => {
  start.kill('SIGINT')
  await exit
  taken.close()
  for (const path of [folder, clustersOf(folder)[1]]) rmSync(path, { recursive: true, force: true })
})

/** Where a provider is at home, which decides what its fake takes. */
const phoneOf = (provider: string, i: number): string =>
  provider === 'africas-talking' ? `+25471000${1_000 + i}` : `+23324100${1_000 + i}`

test.each([...httpCalls, ['smtp', 'email'] as const].map((call, i) => [...call, i] as const))(
  '%s delivers a code by %s',
  async (provider, channel, i) => {
    for (const { name } of vendors)
      await client.script(name, name === provider ? {} : { accept: { status: 503 } })
    const to = channel === 'email' ? `user${i}@example.org` : phoneOf(provider, i)
    const { status, body } = await client.call<{ request_id: string }>('POST', '/otp/send', {
      ...(channel === 'email' ? { email: to } : { phone_number: to, channels: [channel] }),
    })
    expect(status).toBe(200)
    const success = { voice: 'answered', email: 'accepted' }[channel as string] ?? 'delivered'
    await until(
      async () =>
        (await client.status(body.request_id)).steps
          .flatMap(({ attempts }) => attempts)
          .some((attempt) => attempt.provider === provider && attempt.status === success),
      { within: 20_000, what: `${success} by ${provider}` },
    )
    // A call says its code only once it is answered.
    const { code } = await until(
      async () =>
        (await client.inbox(to)).find((each) => each.provider === provider && each.code !== ''),
      { what: `a code by ${provider}` },
    )
    expect(await client.verify({ request_id: body.request_id, code })).toMatchObject({
      body: { status: 'verified' },
    })
  },
)

test('each program has the secrets that it needs, and no others', () => {
  const pids = JSON.parse(readFileSync(join(folder, 'processes.json'), 'utf8')) as Variables
  const namesOf = (program: string) =>
    readFileSync(`/proc/${pids[program]}/environ`, 'utf8')
      .split('\0')
      .map((line) => line.slice(0, line.indexOf('=')))
  const ofCallers = ['OTP_API_KEY', 'OTPILOT_LIVE_KEY', 'OTPILOT_ADMIN_KEY']
  const ofNobody = [...Object.keys(ofOwners), 'MIGRATION_DATABASE_URL']
  for (const program of ['api', 'worker']) {
    const names = namesOf(program)
    expect(names).toEqual(expect.arrayContaining(['DATABASE_URL', 'OTPILOT_KEYS_FILE']))
    expect(names.filter((name) => [...ofCallers, ...ofNobody].includes(name))).toEqual([])
  }
  const names = namesOf('sandbox')
  expect(names).toEqual(expect.arrayContaining(['SANDBOX_SECRET', 'OTPILOT_PUBLISHABLE_KEY']))
  const others = [
    'DATABASE_URL',
    'OTPILOT_KEYS_FILE',
    'OTPILOT_RECEIPT_SECRET',
    ...ofCallers,
    ...ofNobody,
  ]
  expect(names.filter((name) => others.includes(name))).toEqual([])
})
