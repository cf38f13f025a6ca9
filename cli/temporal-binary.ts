import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { alone } from './build-lock'
import { cacheOf, goInstall, isExecutable, onPath, reportEvery } from './go-install'

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

const cacheFolder = (env: NodeJS.ProcessEnv) => cacheOf(env, `temporal-${version}`)

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
  // Several first starts at once would each take minutes of the whole machine for the same program.
  return alone({ folder, what: 'Temporal', say }, async () => {
    return findInstalledTemporal(env) ?? fetchOrBuild(search, folder)
  })
}

/** @throws with what to do when neither works */
const fetchOrBuild = async (search: Search, folder: string): Promise<TemporalChoice> => {
  const { say } = search
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

/** Needs Go; it goes into the folder `work`. */
const build = async ({ env, say }: Search, work: string): Promise<string> => {
  const kept = cacheFolder(env)
  await goInstall({ env, say }, { name: 'Temporal', version, goPackage, work, kept })
  return join(work, 'temporal')
}
