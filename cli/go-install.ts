import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

export const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export const onPath = (env: NodeJS.ProcessEnv, name: string): string | undefined =>
  (env.PATH ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find(isExecutable)

/** Where programs that were fetched or built are kept for the next time. */
export const cacheOf = (env: NodeJS.ProcessEnv, name: string): string =>
  join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'otpilot', name)

/** Says a line every five seconds until the returned function is called. */
export const reportEvery = (say: (sentence: string) => void, line: () => string): (() => void) => {
  const timer = setInterval(() => say(line()), 5000)
  return () => clearInterval(timer)
}

interface Wanted {
  name: string
  version: string
  /** With its version, as `go install` takes it. */
  goPackage: string
  /** The folder that it is built into. */
  work: string
  /** The folder that it is kept in, to be told. */
  kept: string
}

/** Builds a program with Go. @throws saying why it cannot be built */
export const goInstall = async (
  { env, say }: { env: NodeJS.ProcessEnv; say: (sentence: string) => void },
  { name, version, goPackage, work, kept }: Wanted,
): Promise<void> => {
  const go = onPath(env, 'go')
  if (!go) throw new Error('There is no Go on PATH to build it with.')
  say(
    `Building ${name} ${version} with ${go}: about 3 minutes on two idle cores, once; it is kept in ${kept}.`,
  )
  const startedAt = Date.now()
  const progress = reportEvery(
    say,
    () => `Building ${name}: ${Math.round((Date.now() - startedAt) / 1000)} s`,
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
        `Go could not build ${name} (${said.trim().split('\n').slice(-3).join(' ')}).`,
      )
  } finally {
    process.off('exit', stop)
    progress()
  }
}

/** Go refuses to run where it knows no home for its caches, as in some containers. */
const goCacheFolder = (go: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const works = spawnSync(go, ['env', 'GOCACHE', 'GOMODCACHE'], { env, encoding: 'utf8' })
  const [cache, modules] = works.stdout.trim().split('\n')
  if (works.status === 0 && cache && modules) return {}
  return { GOPATH: join(tmpdir(), 'otpilot-go'), GOCACHE: join(tmpdir(), 'otpilot-go-cache') }
}
