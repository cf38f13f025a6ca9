import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { dataFolder, rememberedProcesses } from './data-folder'
import { readVariables } from './dotenv'
import type { Variables } from './dotenv'
import { freePort } from './ports'
import { clustersOf } from './postgres'

// Shows the promise of the product in 35 seconds: a worker that dies costs nobody a code.

/** The sandbox takes SMS to this number and never says that they arrived. */
const silentPhone = '+233555000001'
const killAtMs = 10_000
/** The SMS step's timeout, and how much later the call may come on a busy machine. */
const voiceAtMs = 30_000
const toleranceMs = 8_000

interface Entry {
  channel: string
  code: string
  status: string
  at: string
}

interface Copy {
  folder: string
  variables: Variables
  pidOf: (name: string) => number
  said: () => string
  stop: () => Promise<void>
}

const root = resolve(__dirname, '..')

/** Starts a whole otpilot of its own, on free ports and in a folder that is thrown away. */
const startCopy = async (): Promise<Copy> => {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-demo-'))
  chmodSync(folder, 0o755)
  const env = { ...process.env, OTPILOT_DATA_DIR: folder }
  for (const name of ['DATABASE_URL', 'TEMPORAL_ADDRESS', 'OTPILOT_URL', 'SANDBOX_URL'])
    Reflect.deleteProperty(env, name)
  for (const name of ['PORT', 'SANDBOX_PORT', 'TEMPORAL_PORT', 'TEMPORAL_UI_PORT', 'PGPORT'])
    Object.assign(env, { [name]: String(await freePort()) })
  const child = spawn(process.execPath, [...process.execArgv, join(root, 'cli/start.ts')], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += String(chunk)))
  const ended = new Promise<void>((done) => child.once('close', () => done()))
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
    for (const path of [folder, clustersOf(folder)[1]])
      rmSync(path, { recursive: true, force: true })
  }
  // The child gets a terminal's Ctrl-C itself; here it only ends the demonstration.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void stop().finally(() => process.exit(130)))
  while (!said.includes('otpilot is ready')) {
    if (child.exitCode !== null) throw new Error(`The demonstration could not start:\n${said}`)
    await sleep(100)
  }
  const pidOf = (name: string) => {
    const { [name]: pid } = rememberedProcesses(dataFolder(folder))
    if (pid === undefined) throw new Error(`There is no ${name} that runs.`)
    return pid
  }
  return { folder, variables: readVariables(join(folder, 'env')), pidOf, said: () => said, stop }
}

const post = async ({ variables }: Copy, path: string, body: object): Promise<string> => {
  const response = await fetch(`${variables.OTPILOT_URL}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${variables.OTP_API_KEY}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  })
  const answer = (await response.json()) as { status?: string; message?: string }
  if (!response.ok) throw new Error(`${path} was refused: ${answer.message}`)
  return answer.status ?? ''
}

const inbox = async ({ variables }: Copy, channel: string): Promise<Entry[]> => {
  const url = `${variables.SANDBOX_URL}/inbox?to=${encodeURIComponent(silentPhone)}`
  const entries = (await (await fetch(url)).json()) as Entry[]
  return entries.filter((entry) => entry.channel === channel)
}

const waitForMessage = async (copy: Copy, channel: string, untilMs: number): Promise<Entry> => {
  for (;;) {
    const [entry] = await inbox(copy, channel)
    if (entry) return entry
    if (Date.now() > untilMs) throw new Error(`No ${channel} message came in time.`)
    await sleep(50)
  }
}

const show = async (copy: Copy): Promise<void> => {
  const startedAt = Date.now()
  const tell = (sentence: string) =>
    console.log(`${((Date.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${sentence}`)

  await post(copy, '/otp/send', { phone_number: silentPhone })
  tell(`A code is on its way to ${silentPhone}, a phone that never confirms an SMS.`)
  const sms = await waitForMessage(copy, 'sms', startedAt + 10_000)
  tell(`The SMS is out: the code is ${sms.code}. Nobody knows whether it arrived.`)

  await sleep(startedAt + killAtMs - Date.now())
  const pid = copy.pidOf('worker')
  process.kill(pid, 'SIGKILL')
  tell(`The only worker (pid ${pid}) is killed with kill -9, in the middle of its wait.`)
  while (!/worker runs again/.test(copy.said())) {
    if (Date.now() > startedAt + voiceAtMs) throw new Error('The worker was not started again.')
    await sleep(50)
  }
  tell(`A new worker (pid ${copy.pidOf('worker')}) reads where the old one was, and waits on.`)

  const call = await waitForMessage(copy, 'voice', startedAt + voiceAtMs + toleranceMs)
  const rangAfterMs = Date.now() - startedAt
  tell(`The phone rings: the call says ${call.code}.`)
  if (call.code !== sms.code) throw new Error('The call told another code than the SMS.')
  if (Math.abs(rangAfterMs - voiceAtMs) > toleranceMs)
    throw new Error(`The phone should have rung after about ${voiceAtMs / 1000} s.`)
  const messages = (await inbox(copy, 'sms')).length
  if (messages !== 1) throw new Error(`The crash made ${messages} SMS out of one.`)

  const checked = await post(copy, '/otp/verify', { phone_number: silentPhone, code: call.code })
  if (checked !== 'verified') throw new Error(`The code was ${checked}.`)
  tell('The same code, one SMS, one call, and the code is accepted: the crash cost nothing.')
}

const main = async (): Promise<void> => {
  console.log('Starting an otpilot of its own for this demonstration; it takes some seconds.')
  const copy = await startCopy()
  try {
    await show(copy)
  } finally {
    await copy.stop()
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(`It did not work: ${error instanceof Error ? error.message : String(error)}`)
    process.exit(1)
  },
)
