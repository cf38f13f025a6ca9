import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { spawn, type ChildProcess } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readVariables, type Variables } from '../../cli/dotenv'
import { freePort, isFree } from '../../cli/ports'
import { clustersOf } from '../../cli/postgres'
import { isRunning } from '../../cli/processes'

const root = resolve(__dirname, '..', '..')
const portNames = ['PORT', 'SANDBOX_PORT', 'TEMPORAL_PORT', 'TEMPORAL_UI_PORT', 'PGPORT'] as const

let folder: string
let env: NodeJS.ProcessEnv
let ports: number[]

interface Start {
  process: ChildProcess
  output: () => string
  exit: Promise<number | null>
}
const starts: Start[] = []

const npmStart = (args: string[] = [], extra: NodeJS.ProcessEnv = {}): Start => {
  const child = spawn(process.execPath, ['cli/bootstrap.mjs', 'cli/start.ts', ...args], {
    cwd: root,
    env: { ...env, ...extra },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => (said += String(chunk)))
  const exit = new Promise<number | null>((done) => child.once('close', done))
  const start = { process: child, output: () => said, exit }
  starts.push(start)
  return start
}

const waitFor = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  for (let waited = 0; !(await isSo()); waited += 50) {
    if (waited > 50_000) throw new Error(`${what} did not happen:\n${starts.at(-1)?.output()}`)
    await sleep(50)
  }
}

const ready = (start: Start) => waitFor('ready', () => /otpilot is ready/.test(start.output()))
const variables = (): Variables => readVariables(join(folder, 'env'))
const processes = (): Record<string, number> =>
  JSON.parse(readFileSync(join(folder, 'processes.json'), 'utf8')) as Record<string, number>

const post = async (path: string, body: object): Promise<Record<string, unknown>> => {
  const { OTPILOT_URL, OTP_API_KEY } = variables()
  const response = await fetch(`${OTPILOT_URL}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${OTP_API_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await response.json()) as Record<string, unknown>
}

const codeFor = async (phone: string): Promise<string> => {
  const inbox = `${variables().SANDBOX_URL}/inbox?to=${encodeURIComponent(phone)}`
  let code: string | undefined
  await waitFor('a message', async () => {
    const entries = (await (await fetch(inbox)).json()) as { code: string }[]
    code = entries[0]?.code
    return code !== undefined
  })
  return code ?? ''
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'otpilot-start-'))
  chmodSync(folder, 0o755)
  ports = await Promise.all(portNames.map(freePort))
  const { PATH, HOME, XDG_CACHE_HOME, TEMPORAL_CLI } = process.env
  env = {
    ...{ PATH, HOME, XDG_CACHE_HOME, TEMPORAL_CLI, OTPILOT_DATA_DIR: folder },
    ...Object.fromEntries(portNames.map((name, i) => [name, String(ports[i])])),
  }
})

afterAll(async () => {
  for (const start of starts) if (start.process.exitCode === null) start.process.kill('SIGINT')
  await Promise.all(starts.map(({ exit }) => exit))
  for (const path of [folder, clustersOf(folder)[1]]) rmSync(path, { recursive: true, force: true })
})

describe('npm start', () => {
  test('-- --check tells what it would use and changes nothing', async () => {
    const check = npmStart(['--check'])
    expect(await check.exit).toBe(0)
    expect(check.output()).toMatch(
      /Node +\d+.*\nPostgres .*\nTemporal .*\nPorts +PORT \d+ free.*\nData folder/,
    )
    expect(readdirSync(folder)).toEqual([])
  })

  test('a busy port is one sentence with the variable that moves it', async () => {
    const server = createServer().listen(ports[0], '127.0.0.1')
    const start = npmStart()
    expect(await start.exit).toBe(1)
    server.close()
    expect(start.output()).toContain(`port ${ports[0]} (set PORT to another one)`)
    expect(existsSync(join(folder, 'lock'))).toBe(false)
  })

  let codeOfLive: string
  const livePhone = '+233241234501'
  let firstVariables: Variables

  test('runs the whole service; the env file is complete before the API first says it is ready', async () => {
    const start = npmStart()
    await waitFor('readyz', () =>
      fetch(`http://127.0.0.1:${ports[0]}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      ),
    )
    firstVariables = variables()
    expect(statSync(join(folder, 'env')).mode & 0o777).toBe(0o600)
    // The programs have the service's role, whose password is nobody's but ours.
    expect(new URL(firstVariables.DATABASE_URL ?? '').username).toBe('otpilot_app')
    expect(statSync(join(folder, 'postgres-app-password')).mode & 0o777).toBe(0o600)
    expect(Object.keys(firstVariables)).toEqual(
      expect.arrayContaining([
        ...['OTPILOT_URL', 'OTP_API_KEY', 'OTPILOT_LIVE_KEY', 'OTPILOT_ADMIN_KEY'],
        ...['OTPILOT_PUBLISHABLE_KEY', 'OTPILOT_RECEIPT_SECRET', 'SANDBOX_URL', 'DATABASE_URL'],
        ...['TEMPORAL_ADDRESS', 'TEMPORAL_NAMESPACE', 'TEMPORAL_UI_URL'],
      ]),
    )
    await ready(start)
    expect(await post('/otp/send', { phone_number: livePhone, channel: 'sms' })).toMatchObject({
      status: 'sent',
    })
    codeOfLive = await codeFor(livePhone)
  })

  test('a second start in the same folder is one sentence with the pid of the first', async () => {
    const second = npmStart()
    expect(await second.exit).toBe(1)
    const pid = readFileSync(join(folder, 'lock'), 'utf8')
    expect(second.output()).toMatch(
      new RegExp(`^otpilot already runs in .* \\(pid ${pid}\\): .*\n$`),
    )
  })

  test('starts a program, Postgres and Temporal again when they die, and says so', async () => {
    const [start] = starts.slice(-2)
    for (const name of ['worker', 'Postgres', 'Temporal'])
      process.kill(processes()[name] ?? 0, 'SIGKILL')
    await waitFor('three restarts', () => start?.output().match(/runs again/g)?.length === 3)
    for (const name of ['worker', 'Postgres', 'Temporal'])
      expect(start?.output()).toContain(`${name} ended (SIGKILL); starting it again.`)
  })

  test('Ctrl-C leaves no process, port, pid or lock file behind', async () => {
    const [start] = starts.slice(-2)
    const pids = Object.values(processes())
    expect(pids).toHaveLength(5)
    start?.process.kill('SIGINT')
    expect(await start?.exit).toBe(0)
    expect(pids.filter(isRunning)).toEqual([])
    expect(await Promise.all(ports.map(isFree))).toEqual(ports.map(() => true))
    const cluster = clustersOf(folder).find(existsSync) ?? ''
    const left = ['lock', 'processes.json'].map((name) => join(folder, name))
    expect([...left, join(cluster, 'postmaster.pid')].filter(existsSync)).toEqual([])
  })

  test('started again, with its own env file loaded: same keys, and a live request’s code verifies', async () => {
    const start = npmStart([], firstVariables)
    await ready(start)
    expect(variables()).toEqual(firstVariables)
    expect(await post('/otp/verify', { phone_number: livePhone, code: codeOfLive })).toMatchObject({
      status: 'verified',
    })
  })

  test('a start after kill -9 clears up what was left and goes on', async () => {
    const [killed] = starts.slice(-1)
    const left = processes()
    process.kill(Number(readFileSync(join(folder, 'lock'), 'utf8')), 'SIGKILL')
    await killed?.exit
    const start = npmStart()
    await ready(start)
    expect(Object.values(left).filter(isRunning)).toEqual([])
    expect(start.output()).toMatch(/Stopped the Postgres that the last start left behind/)
    start.process.kill('SIGTERM')
    expect(await start.exit).toBe(0)
  })
})
