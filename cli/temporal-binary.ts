import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** The newest release that `go install` can still build; the download is pinned to the same. */
const version = '1.5.1'
const goPackage = `github.com/temporalio/cli/cmd/temporal@v${version}`
const downloadHost = 'https://temporal.download'

export type TemporalChoice =
  | { kind: 'address'; address: string; reason: string }
  | { kind: 'binary'; binary: string; reason: string }

export interface Search {
  env: NodeJS.ProcessEnv
  /** Told one sentence per thing tried and per few seconds of waiting. */
  say: (sentence: string) => void
  downloadHost?: string
  downloadPatienceMs?: number
}

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const onPath = (env: NodeJS.ProcessEnv, name: string): string | undefined =>
  (env.PATH ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find(isExecutable)

const cacheFolder = (env: NodeJS.ProcessEnv): string =>
  join(
    env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'),
    'otpilot',
    `temporal-${version}`,
  )

/** What is already on this machine, without fetching or building anything. */
const findInstalledTemporal = (env: NodeJS.ProcessEnv): TemporalChoice | undefined => {
  if (env.TEMPORAL_ADDRESS) {
    const address = env.TEMPORAL_ADDRESS
    return { kind: 'address', address, reason: `the server at TEMPORAL_ADDRESS, ${address}` }
  }
  if (env.TEMPORAL_CLI) {
    if (!isExecutable(env.TEMPORAL_CLI))
      throw new Error(`TEMPORAL_CLI names ${env.TEMPORAL_CLI}, which is not an executable file.`)
    return {
      kind: 'binary',
      binary: env.TEMPORAL_CLI,
      reason: `the program TEMPORAL_CLI names, ${env.TEMPORAL_CLI}`,
    }
  }
  const installed = onPath(env, 'temporal')
  if (installed)
    return { kind: 'binary', binary: installed, reason: `the program found on PATH, ${installed}` }
  const cached = join(cacheFolder(env), 'temporal')
  if (isExecutable(cached))
    return { kind: 'binary', binary: cached, reason: `the one fetched or built before, ${cached}` }
  return undefined
}

/** What `findTemporal` would do, in words, for `npm start -- --check`. */
export const describeTemporal = (env: NodeJS.ProcessEnv): string =>
  findInstalledTemporal(env)?.reason ??
  `none found yet: a download of ${version} would be tried${
    onPath(env, 'go') ? `, then a build with ${onPath(env, 'go')}` : '; there is no Go to build it'
  }`

/**
 * Finds a Temporal server or the program that runs one: TEMPORAL_ADDRESS, TEMPORAL_CLI, PATH, the cache, a
 * download, a build with Go. Throws with what to do when none of them works.
 */
export const findTemporal = async (search: Search): Promise<TemporalChoice> => {
  const { env, say } = search
  const found = findInstalledTemporal(env)
  if (found) return found

  const folder = cacheFolder(env)
  mkdirSync(folder, { recursive: true })
  const failures: string[] = []
  const ways = [
    { reason: 'the one just downloaded', get: download },
    { reason: 'the one just built with Go', get: build },
  ]
  for (const { reason, get } of ways) {
    // Made elsewhere and renamed, so that a killed download or build leaves no half program in the cache.
    const work = mkdtempSync(join(folder, 'work-'))
    const clean = () => rmSync(work, { recursive: true, force: true })
    process.once('exit', clean)
    try {
      const binary = join(folder, 'temporal')
      renameSync(await get(search, work), binary)
      return { kind: 'binary', binary, reason: `${reason}, ${binary}` }
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error)
      say(failure)
      failures.push(failure)
    } finally {
      process.off('exit', clean)
      clean()
    }
  }
  throw new Error(
    `There is no Temporal server to use. ${failures.join(' ')} Do one of these: install the "temporal" program (https://docs.temporal.io/cli) and put it on PATH or name it in TEMPORAL_CLI; set TEMPORAL_ADDRESS to a running server; or install Go 1.24 or newer and run this again.`,
  )
}

const platforms: Partial<Record<NodeJS.Platform, string>> = { darwin: 'darwin', linux: 'linux' }
const architectures: Record<string, string> = { arm64: 'arm64', x64: 'amd64' }

/** Fetches Temporal's own release archive. No checksum is published beside it, so TLS is what vouches for it. */
const download = async (search: Search, work: string): Promise<string> => {
  const platform = platforms[process.platform]
  const arch = architectures[process.arch]
  if (!platform || !arch)
    throw new Error(`There is no download for ${process.platform} on ${process.arch}.`)
  const host = search.downloadHost ?? downloadHost
  search.say(`No Temporal server on this machine: downloading ${version} from ${host}.`)
  try {
    await fetchArchive(
      search,
      `${host}/cli/archive/v${version}?platform=${platform}&arch=${arch}`,
      work,
    )
  } catch (error) {
    throw new Error(`Temporal could not be downloaded from ${host} (${reasonOf(error)}).`, {
      cause: error,
    })
  }
  const binary = join(work, 'temporal')
  if (!isExecutable(binary)) throw new Error(`What ${host} sent has no "temporal" program in it.`)
  return binary
}

/** `fetch` hides what happened behind "fetch failed". */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

const fetchArchive = async (search: Search, url: string, work: string): Promise<void> => {
  const patienceMs = search.downloadPatienceMs ?? 10_000
  const stalled = new AbortController()
  const giveUp = () => stalled.abort(new Error(`nothing came for ${patienceMs / 1000} s`))
  let timer = setTimeout(giveUp, patienceMs)
  try {
    const response = await fetch(url, { signal: stalled.signal })
    if (!response.ok || !response.body) throw new Error(`it answered ${response.status}`)
    const untar = spawn('tar', ['-xzf', '-', '-C', work], { stdio: ['pipe', 'ignore', 'ignore'] })
    const done = new Promise<void>((resolve, reject) => {
      untar.once('error', reject)
      untar.once('close', (code) =>
        code === 0 ? resolve() : reject(new Error('the archive cannot be unpacked')),
      )
    })
    const progress = reportEvery(
      search.say,
      () => `Downloading Temporal: ${(bytes / 1e6).toFixed(0)} MB`,
    )
    let bytes = 0
    const body = Readable.fromWeb(response.body)
    body.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      clearTimeout(timer)
      timer = setTimeout(giveUp, patienceMs)
    })
    try {
      await Promise.all([pipeline(body, untar.stdin, { signal: stalled.signal }), done])
    } finally {
      progress()
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Says a line every five seconds until the returned function is called. */
const reportEvery = (say: Search['say'], line: () => string): (() => void) => {
  const timer = setInterval(() => say(line()), 5000)
  return () => clearInterval(timer)
}

const build = async ({ env, say }: Search, work: string): Promise<string> => {
  const go = onPath(env, 'go')
  if (!go) throw new Error('There is no Go on PATH to build it with.')
  say(
    `Building Temporal ${version} with ${go}: 3 to 10 minutes, once; it is kept in ${cacheFolder(env)}.`,
  )
  const startedAt = Date.now()
  const progress = reportEvery(
    say,
    () => `Building Temporal: ${Math.round((Date.now() - startedAt) / 1000)} s`,
  )
  const goCache = goCacheFolder(go, env)
  const child = spawn(go, ['install', goPackage], {
    env: { ...env, ...goCache, GOBIN: work, GOFLAGS: '-mod=mod' },
    // A group of its own, so that Go and the compilers it starts can be ended together with us.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + String(chunk)).slice(-4000)))
  const stop = () => child.pid !== undefined && process.kill(-child.pid, 'SIGKILL')
  process.once('exit', stop)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    if (code !== 0)
      throw new Error(
        `Go could not build Temporal (${said.trim().split('\n').slice(-3).join(' ')}).`,
      )
  } finally {
    process.off('exit', stop)
    progress()
  }
  return join(work, 'temporal')
}

/** Go refuses to run where it knows no home for its caches, as in some containers. */
const goCacheFolder = (go: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const works = spawnSync(go, ['env', 'GOCACHE', 'GOMODCACHE'], { env, encoding: 'utf8' })
  const [cache, modules] = works.stdout.trim().split('\n')
  if (works.status === 0 && cache && modules) return {}
  return { GOPATH: join(tmpdir(), 'otpilot-go'), GOCACHE: join(tmpdir(), 'otpilot-go-cache') }
}
