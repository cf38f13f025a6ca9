import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort, isFree } from '../../cli/ports'
import { clustersOf } from '../../cli/postgres'

/** How this machine reaches the network; everything else of the environment stays behind. */
const reach =
  /^(LANG|TERM|CI|https?_proxy|all_proxy|no_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)|npm_config_registry|GOPROXY|GOSUMDB|GONOSUMDB)$/i

const defaultPorts = {
  PORT: 8080,
  SANDBOX_PORT: 8081,
  TEMPORAL_PORT: 7233,
  TEMPORAL_UI_PORT: 8233,
  PGPORT: 5433,
}

/** A machine as a newcomer has it: a fresh clone, nothing in the home folder. */
export interface Newcomer {
  clone: string
  env: NodeJS.ProcessEnv
  ports: number[]
  remove(): void
}

export async function makeNewcomer(
  repository: string,
  { withCache, say }: { withCache: boolean; say: (sentence: string) => void },
): Promise<Newcomer> {
  const place = mkdtempSync(join(tmpdir(), 'otpilot-readme-'))
  const [clone, home, temporary] = ['otpilot', 'home', 'tmp'].map((name) => join(place, name)) as [
    string,
    string,
    string,
  ]
  for (const folder of [home, temporary]) mkdirSync(folder)
  // The account that runs Postgres for root must be able to get in.
  for (const folder of [place, temporary]) chmodSync(folder, 0o755)
  const cloned = spawnSync('git', ['clone', '--quiet', repository, clone], { encoding: 'utf8' })
  if (cloned.status !== 0) throw new Error(`git clone failed: ${cloned.stderr}`)
  const { stdout: uncommitted } = spawnSync('git', ['status', '--porcelain'], {
    cwd: repository,
    encoding: 'utf8',
  })
  if (uncommitted) say('HEAD is what is cloned: uncommitted changes are left out.')
  const moved = await movedPorts()
  for (const [variable, port] of Object.entries(moved))
    say(`the default ${variable} is in use on this machine: ${port} instead.`)
  return {
    clone,
    env: { ...bareEnvironment(withCache ? undefined : home), TMPDIR: temporary, ...moved },
    ports: Object.entries(defaultPorts).map(([name, port]) => Number(moved[name] ?? port)),
    remove() {
      const clusters = clustersOf(join(clone, '.otpilot'))
      // Go makes its module cache read-only.
      spawnSync('chmod', ['-R', 'u+w', place])
      for (const path of [place, ...clusters]) rmSync(path, { recursive: true, force: true })
    },
  }
}

/** @param home the empty home folder; without one, this user's own with what it has cached */
function bareEnvironment(home: string | undefined): NodeJS.ProcessEnv {
  const known = Object.entries(process.env).filter(([name]) => reach.test(name))
  // npm puts this project's own programs, a newer Node among them, on the PATH of what it runs.
  const folders = (process.env.PATH ?? '').split(delimiter)
  const PATH = folders.filter((folder) => !folder.includes('node_modules')).join(delimiter)
  const { TEMPORAL_CLI, HOME = homedir() } = process.env
  const cached = { HOME, ...(TEMPORAL_CLI && { TEMPORAL_CLI }) }
  return { ...Object.fromEntries(known), PATH, ...(home === undefined ? cached : { HOME: home }) }
}

async function movedPorts(): Promise<Record<string, string>> {
  const moved: Record<string, string> = {}
  for (const [variable, port] of Object.entries(defaultPorts))
    if (!(await isFree(port))) moved[variable] = String(await freePort())
  return moved
}

/** A shell that runs what the README says, in a process group of its own as under a terminal. */
export interface Shell {
  process: ChildProcess
  output(): string
  exit: Promise<number | null>
}

/** @param onLine told each line and the milliseconds since the shell was opened */
export function openShell(
  { clone, env }: Pick<Newcomer, 'clone' | 'env'>,
  script: string,
  onLine: (line: string, atMs: number) => void,
): Shell {
  const openedAt = performance.now()
  const child = spawn('/bin/sh', ['-e', '-c', script], {
    cwd: clone,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let told = 0
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += String(chunk)
      const whole = said.lastIndexOf('\n') + 1
      for (const line of said.slice(told, whole).split('\n').filter(Boolean))
        onLine(line, performance.now() - openedAt)
      told = whole
    })
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve))
  return { process: child, output: () => said, exit }
}

/** What a terminal does on Ctrl-C: the signal goes to the whole group. */
export function pressCtrlC({ process: child }: Shell): void {
  if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGINT')
}
