import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { isFree } from '../../cli/ports'
import { clustersOf } from '../../cli/postgres'
import { commandLine, isRunning } from '../../cli/processes'
import { readmeSession } from './blocks'
import { makeNewcomer, type Newcomer, openShell, pressCtrlC, type Shell } from './newcomer'

// `npm run test:readme` does what the README tells a newcomer to do, word for word: in a fresh clone of HEAD, with
// an empty home folder. `-- --with-cache` uses this user's own caches, for a quick look.

const startLimitMs = 25 * 60_000
const pastedLimitMs = 3 * 60_000
const stopLimitMs = 60_000

const { values } = parseArgs({
  options: {
    'with-cache': { type: 'boolean', default: false },
    outputFile: { type: 'string' },
    ci: { type: 'boolean' },
    json: { type: 'boolean' },
  },
})

const say = (sentence: string) => console.log(`readme: ${sentence}`)
const seconds = (ms: number) => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`

let passed = 0
let failed = 0
function check(what: string, isSo: boolean): void {
  if (isSo) passed++
  else failed++
  say(`${isSo ? 'ok    ' : 'FAILED'} ${what}`)
}

const within = async <T>(limitMs: number, what: string, event: Promise<T>): Promise<T> => {
  const timer = new AbortController()
  const late = pause(limitMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${what} took more than ${seconds(limitMs)}`)
  })
  late.catch(() => undefined)
  return Promise.race([event, late]).finally(() => timer.abort())
}

/** When a line of this kind was first printed, in milliseconds since the start. */
interface Times {
  started?: number
  installed?: number
  temporalWanted?: number
  temporalFound?: number
  ready?: number
}

const landmarks: [keyof Times, RegExp][] = [
  ['installed', /packages installed/],
  ['temporalWanted', /No Temporal server on this machine|^Building Temporal/],
  ['temporalFound', /^Temporal: /],
  ['ready', /otpilot is ready/],
]

async function start(newcomer: Newcomer, block: string, times: Times): Promise<Shell> {
  const readyAt = Promise.withResolvers<void>()
  const shell = openShell(newcomer, block, (line, atMs) => {
    console.log(`${seconds(atMs).padStart(8)} | ${line}`)
    for (const [name, pattern] of landmarks) if (pattern.test(line)) times[name] ??= atMs
    if (times.ready !== undefined) readyAt.resolve()
  })
  const ended = shell.exit.then((code) => {
    throw new Error(`it ended by itself (exit code ${code})`)
  })
  ended.catch(() => undefined)
  await within(startLimitMs, 'npm start', Promise.race([readyAt.promise, ended]))
  return shell
}

const mark = '@@ block'

/** One shell session for all blocks, as a person would have. @returns what each block printed */
async function paste(
  newcomer: Newcomer,
  blocks: string[],
  onVerified: () => void,
): Promise<string[]> {
  const script = blocks.map((block) => `echo; echo '${mark}'\n${block}`).join('\n')
  const shell = openShell(newcomer, `${script}\necho`, (line) => {
    if (line !== mark) console.log(`         | ${line}`)
    if (/"status":\s*"verified"/.test(line)) onVerified()
  })
  const code = await within(pastedLimitMs, 'the pasted blocks', shell.exit)
  check('every pasted block ends without an error', code === 0)
  return shell.output().split(mark).slice(1)
}

interface Entry {
  channel: string
  code: string
}

function checkAnswers([send = '', verify = '', silent = '']: string[]): void {
  check('the send is answered with "sent" and a request id', /"status":"sent"/.test(send))
  check('the code from the phone is verified', /"status":"verified"/.test(verify))
  const [inbox = '[]', status = '{}'] = silent.trim().split(/(?<=\])\s*(?=\{)/)
  const entries = JSON.parse(inbox) as Entry[]
  check(
    'the silent number got an SMS, then a call',
    entries.map(({ channel }) => channel).join() === 'voice,sms',
  )
  check('both say the same code', new Set(entries.map(({ code }) => code)).size === 1)
  const { steps = [] } = JSON.parse(status) as { steps?: { channel: string; status: string }[] }
  check(
    'the status tells the same story',
    steps[0]?.status === 'timed_out' && steps[1]?.status === 'succeeded',
  )
}

/** Processes that run from, or in, the clone. */
const processesOf = (clone: string): number[] =>
  existsSync('/proc')
    ? readdirSync('/proc')
        .map(Number)
        .filter((pid) => pid > 0 && pid !== process.pid)
        .filter((pid) => commandLine(pid).includes(clone) || workFolder(pid).startsWith(clone))
    : []

function workFolder(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    // It has ended since, or is not ours.
    return ''
  }
}

async function stop({ clone, env, ports }: Newcomer, shell: Shell): Promise<void> {
  const data = join(clone, '.otpilot')
  const started = JSON.parse(readFileSync(join(data, 'processes.json'), 'utf8')) as object
  const pids = Object.values(started) as number[]
  check('five programs ran', pids.length === 5 && pids.every(isRunning))
  pressCtrlC(shell)
  await within(stopLimitMs, 'Ctrl-C', shell.exit)
  const left = [...new Set([...pids.filter(isRunning), ...processesOf(clone)])]
  check(`Ctrl-C leaves no process (${left.map(commandLine).join('; ') || 'none'})`, !left.length)
  check('Ctrl-C leaves no port', (await Promise.all(ports.map(isFree))).every(Boolean))
  const files = [
    ...['lock', 'processes.json'].map((name) => join(data, name)),
    ...clustersOf(data).map((cluster) => join(cluster, 'postmaster.pid')),
    ...readdirSync(env.TMPDIR ?? '').filter((name) => name.startsWith('otpilot-install')),
  ].filter((file) => !file.startsWith('/') || existsSync(file))
  check(`Ctrl-C leaves no lock or pid file (${files.join(', ') || 'none'})`, !files.length)
}

function report(times: Times, verifiedAt: number | undefined): void {
  if (verifiedAt === undefined) return
  const { installed = 0, temporalWanted, temporalFound } = times
  const temporal =
    temporalWanted === undefined ? 0 : (temporalFound ?? temporalWanted) - temporalWanted
  const rest = verifiedAt - installed - temporal
  say(
    `time to first verified code: ${seconds(verifiedAt)} (packages ${seconds(installed)}, Temporal server ${seconds(temporal)}, the rest ${seconds(rest)})`,
  )
}

async function walkThrough(newcomer: Newcomer): Promise<void> {
  const { start: startBlock, pasted } = readmeSession(
    readFileSync(join(newcomer.clone, 'README.md'), 'utf8'),
  )
  const times: Times = {}
  const startedAt = performance.now()
  let verifiedAt: number | undefined
  let shell: Shell | undefined
  try {
    shell = await start(newcomer, startBlock, times)
    check('npm start gets ready in a fresh clone', true)
    const onVerified = () => void (verifiedAt ??= performance.now() - startedAt)
    checkAnswers(await paste(newcomer, pasted, onVerified))
    report(times, verifiedAt)
    await stop(newcomer, shell)
  } finally {
    for (const pid of processesOf(newcomer.clone)) process.kill(pid, 'SIGKILL')
  }
}

async function main(): Promise<void> {
  const withCache = values['with-cache']
  const newcomer = await makeNewcomer(resolve(__dirname, '../..'), { withCache, say })
  const leave = () => {
    for (const pid of processesOf(newcomer.clone)) process.kill(pid, 'SIGKILL')
    newcomer.remove()
    process.exit(130)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave)
  say(
    `a fresh clone in ${newcomer.clone}, ${withCache ? 'with the caches of this user' : 'with an empty home folder'}.`,
  )
  try {
    await walkThrough(newcomer)
  } catch (error) {
    check(error instanceof Error ? error.message : String(error), false)
  } finally {
    newcomer.remove()
  }
  const counts = { numPassedTests: passed, numFailedTests: failed, numRuntimeErrorTestSuites: 0 }
  if (values.outputFile) writeFileSync(values.outputFile, JSON.stringify(counts))
  console.log(`readme: ${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
