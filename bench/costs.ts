import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { createDatabase, type Database } from '../db'
import { quantile, table } from './figures'
import { createCaller, type FlowTimes, stopwatch } from './flow'
import { runLoad } from './load'
import { type CpuReading, cpuBetween, machineFacts, readCpu } from './machine'
import { startSystem, type System } from './system'

// Where the time of one flow goes, and the work of many: by stage, by process, by statement.

const flowsAlone = 40
const callers = 50
const warmMs = 3_000
const windowMs = 12_000
const idleMs = 5_000
/** A backend that rests may keep its counts to itself for ten seconds. */
const statisticsMs = 11_000
const statementsShown = 14

type Flow = FlowTimes & { requestId: string }

/** Milliseconds between what Postgres has written down about a request; all by one clock. */
async function stagesOf(db: Database, flows: readonly Flow[]): Promise<string> {
  const ids = flows.map(({ requestId }) => requestId)
  const rows = await db.many<Record<string, number>>(sql`
    select ms(r.workflow_started_at - r.created_at) as started, ms(a.claimed_at - r.created_at) as claimed,
      ms(a.finished_at - a.claimed_at) as called, ms(c.received_at - a.finished_at) as receipt
    from otp_requests r join attempts a on a.request_id = r.id
    join lateral (select min(received_at) as received_at from receipts where attempt_id = a.id) c on true
    where r.id in ${ids}`)
  const middle = (name: string) =>
    quantile(
      rows.map((row) => Number(row[name])),
      0.5,
    ).toFixed(0)
  const ours = (part: keyof FlowTimes) =>
    quantile(
      flows.map((flow) => flow[part]),
      0.5,
    ).toFixed(0)
  return table(
    ['stage, one caller alone, p50', 'ms'],
    [
      ['send: the caller waits', ours('send')],
      ['  of it: limit taken and row made → run started and noted', middle('started')],
      ['row made → provider call claimed by the worker', middle('claimed')],
      ['claim → provider’s answer written down', middle('called')],
      ['answer → signed receipt recorded (the sandbox waits 200)', middle('receipt')],
      ['verify: the caller waits', ours('verify')],
      ['verified → run closed', ours('close')],
    ],
  )
}

interface Counters {
  commits: number
  /** Transactions that wrote something, each of which waits for the disk. */
  writes: number
  walBytes: number
}

const readCounters = async (db: Database): Promise<Counters> => {
  const row = await db.one<Counters>(sql`
    select xact_commit::float8 as commits,
      pg_snapshot_xmax(pg_current_snapshot())::text::float8 as writes,
      pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as "walBytes"
    from pg_stat_database where datname = current_database()`)
  if (!row) throw new Error('Postgres has no statistics of this database.')
  return row
}

/** What the system commits per second while nobody asks for anything: sweeper and readiness. */
async function idleCommitsPerSecond(db: Database): Promise<number> {
  await sleep(statisticsMs)
  const before = await readCounters(db)
  await sleep(idleMs)
  const after = await readCounters(db)
  return ((after.commits - before.commits) / idleMs) * 1000
}

async function statements(db: Database, flows: number): Promise<string> {
  const rows = await db.many<{ query: string; calls: number; ms: number; wal: number }>(sql`
    select query, sum(calls)::float8 as calls, sum(total_exec_time) as ms, sum(wal_bytes)::float8 as wal
    from pg_stat_statements s join pg_database d on d.oid = s.dbid
    where d.datname = current_database() and query not like '%pg_stat%' and query not like '%bench%'
    group by query order by ms desc`)
  const sum = (part: 'calls' | 'ms' | 'wal') => rows.reduce((all, row) => all + row[part], 0)
  const shown = rows
    .slice(0, statementsShown)
    .map(({ query, calls, ms, wal }) => [
      `\`${nameOf(query)}\``,
      (calls / flows).toFixed(2),
      (ms / calls).toFixed(2),
      (ms / flows).toFixed(2),
      (wal / flows / 1024).toFixed(2),
    ])
  return table(
    ['statement', 'calls per flow', 'ms per call', 'ms per flow', 'WAL KiB per flow'],
    [
      ...shown,
      [
        `all ${rows.length}`,
        (sum('calls') / flows).toFixed(1),
        '',
        (sum('ms') / flows).toFixed(2),
        (sum('wal') / flows / 1024).toFixed(1),
      ],
    ],
  )
}

/** The name of a statement that has one, or enough of its text to find it in db/. */
const nameOf = (query: string): string =>
  /^\w+ \/\* (\w+) \*\//.exec(query)?.[1] ?? query.replaceAll(/\s+/g, ' ').trim().slice(0, 90)

async function historyOf(system: System, requestId: string): Promise<string> {
  const handle = system.temporal.workflow.getHandle(requestId)
  const [{ events }, { raw }] = await Promise.all([handle.fetchHistory(), handle.describe()])
  const bytes = Number(raw.workflowExecutionInfo?.historySizeBytes ?? 0)
  const transitions = Number(raw.workflowExecutionInfo?.stateTransitionCount ?? 0)
  return `${events?.length} history events, ${transitions} state transitions, ${bytes} bytes of history`
}

async function main(): Promise<void> {
  console.log(`${machineFacts()}\n`)
  const system = await startSystem({
    postgresSettings: {
      shared_preload_libraries: 'pg_stat_statements',
      'pg_stat_statements.track_planning': 'off',
    },
  })
  const caller = createCaller(system)
  const db = createDatabase(system.databaseUrl, { max: 2, applicationName: 'otpilot bench' })
  try {
    await db.many(sql`create extension pg_stat_statements`)
    await db.many(sql`create function ms(interval) returns float8 language sql
      return extract(epoch from $1) * 1000`)
    await showAlone(system, db, caller.flow)
    await showLoaded(system, db, caller.flow)
    console.log(`\nRefused for overload or outage, and sent again: ${caller.refusals.length}`)
  } finally {
    await db.close()
    await caller.close()
    await system.stop()
  }
}

function cpuTable(
  who: string,
  flows: number,
  opened: CpuReading,
  closed: CpuReading,
  seconds: number,
): string {
  const { parts, ours, othersShare } = cpuBetween(opened, closed)
  const all = Object.entries(parts)
  const perFlow = (value: number) => ((value * 1000) / flows).toFixed(1)
  const share = (value: number) => `${((value / ours) * 100).toFixed(0)} %`
  return table(
    [`CPU per flow, ${who}`, ...all.map(([name]) => name), 'all', 'flows/s', 'CPU of others'],
    [
      [
        'ms',
        ...all.map(([, value]) => perFlow(value)),
        perFlow(ours),
        (flows / seconds).toFixed(1),
        `${(othersShare * 100).toFixed(0)} %`,
      ],
      ['share', ...all.map(([, value]) => share(value)), '100 %', '', ''],
    ],
  )
}

async function showAlone(system: System, db: Database, flow: () => Promise<Flow>): Promise<void> {
  for (let index = 0; index < flowsAlone / 4; index++) await flow()
  const warm: Flow[] = []
  const [opened, lap] = [readCpu(system.pids), stopwatch()]
  for (let index = 0; index < flowsAlone; index++) warm.push(await flow())
  const closed = readCpu(system.pids)
  console.log(`${cpuTable('one caller', warm.length, opened, closed, lap() / 1000)}\n`)
  console.log(`${await stagesOf(db, warm)}\n`)
  console.log(`${await historyOf(system, warm.at(-1)?.requestId ?? '')}\n`)
}

async function showLoaded(system: System, db: Database, flow: () => Promise<Flow>): Promise<void> {
  const idle = await idleCommitsPerSecond(db)
  const before = await readCounters(db)
  await db.many(sql`select pg_stat_statements_reset()`)
  const startedAt = performance.now()
  const readings: CpuReading[] = []
  const read = () => void readings.push(readCpu(system.pids))
  const load = { callers, warmMs, windowMs, work: flow, atOpening: read, atClosing: read }
  const { done, all, seconds } = await runLoad(load)
  await sleep(statisticsMs)
  const after = await readCounters(db)
  const restCommits = (idle * (performance.now() - startedAt)) / 1000
  const [opened, closed] = readings
  if (!opened || !closed) throw new Error('The load was not read.')
  console.log(cpuTable(`${callers} callers`, done.length, opened, closed, seconds))
  const commits = (after.commits - before.commits - restCommits) / all.length
  const wal = (after.walBytes - before.walBytes) / all.length / 1024
  const writes = (after.writes - before.writes) / all.length
  console.log(
    `\nPostgres (ours, not Temporal's), per flow: ${commits.toFixed(1)} commits, ${writes.toFixed(1)} of them with writes, ${wal.toFixed(1)} KiB of WAL; at rest ${idle.toFixed(1)} commits a second.\n`,
  )
  console.log(await statements(db, all.length))
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
