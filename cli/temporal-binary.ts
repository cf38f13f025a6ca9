import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { alone } from './build-lock'
import { cacheOf, goInstall, isExecutable, onPath, reportEvery } from './go-install'

/** The newest release that `go install` can still build; the download is pinned to the same. */
const version = '1.5.1'
const goPackage = `github.com/temporalio/cli/cmd/temporal@v${version}`
/** Temporal's own site, and where its releases are published. */
const downloadHosts: DownloadHosts = {
  site: 'https://temporal.download',
  github: 'https://github.com',
}

/**
 * SHA-256 of the release's archives, so that nothing else is ever run. For each, two projects that do not know of each
 * other pin the same one (the package lists cashapp/hermit-packages and zph/hermit-packages, and a CI script, read on
 * 2026-12-01).
 */
const digests: Readonly<Record<string, string>> = {
  linux_amd64: 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  linux_arm64: 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  darwin_amd64: 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
  darwin_arm64: 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
}

interface DownloadHosts {
  site: string
  github: string
}

export type TemporalChoice =
  | { kind: 'address'; address: string; reason: string }
  | { kind: 'binary'; binary: string; reason: string }

export interface Search {
  env: NodeJS.ProcessEnv
  /** Told one sentence per thing tried and per few seconds of waiting. */
  say: (sentence: string) => void
  downloadHosts?: DownloadHosts
  downloadPatienceMs?: number
  /** Of the archive, instead of the release's. */
  digest?: string
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

/** Fetches Temporal's release archive from the first host that has the right one. */
const download = async (search: Search, work: string): Promise<string> => {
  const platform = platforms[process.platform]
  const arch = architectures[process.arch]
  const digest = search.digest ?? digests[`${platform}_${arch}`]
  if (!platform || !arch || !digest)
    throw new Error(`There is no download for ${process.platform} on ${process.arch}.`)
  const { site, github } = search.downloadHosts ?? downloadHosts
  const asset = `temporal_cli_${version}_${platform}_${arch}.tar.gz`
  const sources = [
    { host: site, path: `/cli/archive/v${version}?platform=${platform}&arch=${arch}` },
    { host: github, path: `/temporalio/cli/releases/download/v${version}/${asset}` },
  ]
  const failures: string[] = []
  for (const { host, path } of sources) {
    search.say(`No Temporal server on this machine: downloading ${version} from ${host}.`)
    try {
      const archive = join(work, asset)
      await fetchArchive(search, { url: `${host}${path}`, archive, digest })
      await unpack(archive, work)
      const binary = join(work, 'temporal')
      if (!isExecutable(binary)) throw new Error('there is no "temporal" program in the archive')
      return binary
    } catch (error) {
      failures.push(`Temporal could not be downloaded from ${host} (${reasonOf(error)}).`)
    }
  }
  throw new Error(failures.join(' '))
}

/** `fetch` hides what happened behind "fetch failed". */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

interface Wanted {
  url: string
  /** The file that it is written to. */
  archive: string
  digest: string
}

/** @throws for anything but the archive of this digest, before any of it is unpacked */
const fetchArchive = async (search: Search, { url, archive, digest }: Wanted): Promise<void> => {
  const patienceMs = search.downloadPatienceMs ?? 10_000
  const stalled = new AbortController()
  const giveUp = () => stalled.abort(new Error(`nothing came for ${patienceMs / 1000} s`))
  let timer = setTimeout(giveUp, patienceMs)
  let bytes = 0
  const progress = reportEvery(
    search.say,
    () => `Downloading Temporal: ${(bytes / 1e6).toFixed(0)} MB`,
  )
  try {
    const response = await fetch(url, { signal: stalled.signal })
    if (!response.ok || !response.body) throw new Error(`it answered ${response.status}`)
    const hash = createHash('sha256')
    const body = Readable.fromWeb(response.body)
    body.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      hash.update(chunk)
      clearTimeout(timer)
      timer = setTimeout(giveUp, patienceMs)
    })
    await pipeline(body, createWriteStream(archive), { signal: stalled.signal })
    const got = hash.digest('hex')
    if (got !== digest) throw new Error(`it sent ${got}, which is not the release ${digest}`)
  } finally {
    progress()
    clearTimeout(timer)
  }
}

const unpack = (archive: string, folder: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const untar = spawn('tar', ['-xzf', archive, '-C', folder], { stdio: 'ignore' })
    untar.once('error', reject)
    untar.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error('the archive cannot be unpacked')),
    )
  })

/** Needs Go; it goes into the folder `work`. */
const build = async ({ env, say }: Search, work: string): Promise<string> => {
  const kept = cacheFolder(env)
  await goInstall({ env, say }, { name: 'Temporal', version, goPackage, work, kept })
  return join(work, 'temporal')
}
