import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { createDatabase } from '../db'
import { sql } from 'drizzle-orm'
import { latency, quantile, spread, table } from './figures'
import { createCaller, type FlowTimes } from './flow'
import { runLoad } from './load'
import { type CpuReading, cpuBetween, machineFacts, readCpu } from './machine'
import { startSystem, type System } from './system'
import { delivered, textbook, textbookQueue } from './textbook'

// Whole OTP flows beside the textbook workflow on the same Temporal server, in turns, so that whatever else the
// machine does meets both.

const callers = 50
const pairs = 5
const warmMs = 2_000
const windowMs = 7_000

interface Round<T> {
  rate: number
  cpuMsEach: number
  /** CPU milliseconds per piece of work, by process. */
  parts: Record<string, number>
  othersShare: number
  done: T[]
  all: T[]
}

async function round<T>(system: System, work: () => Promise<T>): Promise<Round<T>> {
  const readings: CpuReading[] = []
  const read = () => void readings.push(readCpu(system.pids))
  const { done, all, seconds } = await runLoad({
    callers,
    warmMs,
    windowMs,
    work,
    atOpening: read,
    atClosing: read,
  })
  const [before, after] = readings
  if (!before || !after) throw new Error('The round was not read.')
  const { parts, ours, othersShare } = cpuBetween(before, after)
  const each = (cpuSeconds: number) => (cpuSeconds * 1000) / done.length
  return {
    rate: done.length / seconds,
    cpuMsEach: each(ours),
    parts: Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, each(value)])),
    othersShare,
    done,
    all,
  }
}

/** Start, one activity, one signal, complete; its caller waits for the end as an OTP flow's does. */
const textbookRun = (system: System) => async () => {
  const workflowId = `textbook-${randomUUID()}`
  const handle = await system.temporal.workflow.start(textbook, {
    workflowId,
    taskQueue: textbookQueue,
  })
  await handle.signal(delivered)
  await handle.result()
  return workflowId
}

async function historyOf(system: System, workflowIds: readonly string[]): Promise<string> {
  const seen = await Promise.all(
    workflowIds.slice(0, 20).map(async (id) => {
      const { historyLength, raw } = await system.temporal.workflow.getHandle(id).describe()
      const transitions = Number(raw.workflowExecutionInfo?.stateTransitionCount ?? 0)
      return { historyLength, transitions }
    }),
  )
  const events = seen.map(({ historyLength }) => historyLength)
  const transitions = seen.map((one) => one.transitions)
  return `${spread(events, 0)} | ${spread(transitions, 0)}`
}

/** Whether the callbacks came in before the codes were checked, as with people. */
async function receiptsInTime(system: System): Promise<string> {
  const db = createDatabase(system.databaseUrl, { max: 1 })
  try {
    const row = await db.one<{ inTime: number; late: number }>(sql`
      select count(*) filter (where type = 'receipt')::int as "inTime",
        count(*) filter (where type = 'late_receipt')::int as late from audit_events`)
    return `${row?.inTime} receipts before the check, ${row?.late} after it`
  } finally {
    await db.close()
  }
}

const heading = [
  'round',
  'OTP flows/s',
  'textbook/s',
  'ratio',
  'CPU ms per flow',
  'CPU ms per textbook',
  'CPU of others (flow / textbook round)',
]

function report(otp: Round<FlowTimes>[], plain: Round<string>[]): string {
  const both = otp.flatMap((flow, index) => {
    const beside = plain[index]
    return beside ? [{ flow, beside }] : []
  })
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`
  const rows = both.map(({ flow, beside }, index) => [
    index + 1,
    flow.rate.toFixed(1),
    beside.rate.toFixed(1),
    (flow.rate / beside.rate).toFixed(2),
    flow.cpuMsEach.toFixed(1),
    beside.cpuMsEach.toFixed(1),
    `${percent(flow.othersShare)} / ${percent(beside.othersShare)}`,
  ])
  const over = (value: (pair: (typeof both)[number]) => number, digits?: number) =>
    spread(both.map(value), digits)
  const summary = [
    ['OTP flows/s', over(({ flow }) => flow.rate, 1)],
    ['textbook workflows/s', over(({ beside }) => beside.rate, 1)],
    ['ratio of the rates', over(({ flow, beside }) => flow.rate / beside.rate)],
    ['ratio of the CPU times', over(({ flow, beside }) => flow.cpuMsEach / beside.cpuMsEach)],
  ]
  return [
    table(heading, rows),
    table(['flow to textbook', 'min / median / max'], summary),
    cpuTable(otp, plain),
    latencyTable(otp.flatMap(({ done }) => done)),
  ].join('\n\n')
}

function cpuTable(otp: Round<unknown>[], plain: Round<unknown>[]): string {
  const names = Object.keys(otp[0]?.parts ?? {})
  const middles = (rounds: Round<unknown>[]) =>
    names.map((name) => {
      const values = rounds.map(({ parts }) => parts[name] ?? 0)
      return quantile(values, 0.5).toFixed(1)
    })
  return table(
    ['CPU ms each, median of the rounds', ...names],
    [
      ['OTP flow', ...middles(otp)],
      ['textbook workflow', ...middles(plain)],
    ],
  )
}

const latencyTable = (times: readonly FlowTimes[]): string =>
  table(
    [`at ${callers} callers`, 'p50', 'p99'],
    (['send', 'delivery', 'verify', 'close'] as const).map((part) => {
      const values = times.map((time) => time[part])
      return [part, ...[0.5, 0.99].map((share) => `${quantile(values, share).toFixed(0)} ms`)]
    }),
  )

async function main(): Promise<void> {
  console.log(`${machineFacts()}\n`)
  const system = await startSystem({
    extraPrograms: { textbook: join(__dirname, 'textbook-worker.ts') },
  })
  const caller = createCaller(system)
  try {
    const alone: FlowTimes[] = []
    for (let index = 0; index < 40; index++) alone.push(await caller.flow())
    const warm = alone.slice(10)
    const otp: Round<FlowTimes & { requestId: string }>[] = []
    const plain: Round<string>[] = []
    for (let pair = 0; pair < pairs; pair++) {
      otp.push(await round(system, caller.flow))
      plain.push(await round(system, textbookRun(system)))
    }
    console.log(report(otp, plain))
    console.log(
      `\nOne caller alone: send ${latency(warm.map(({ send }) => send))}; verify ${latency(warm.map(({ verify }) => verify))}.`,
    )
    console.log(`History events | state transitions (min / median / max of 20):`)
    const ids = otp.at(-1)?.done.map(({ requestId }) => requestId) ?? []
    console.log(`  OTP flow ${await historyOf(system, ids)}`)
    console.log(`  textbook ${await historyOf(system, plain.at(-1)?.done ?? [])}`)
    console.log(await receiptsInTime(system))
    console.log(`Refused for overload or outage, and sent again: ${caller.refusals.length}`)
  } finally {
    await caller.close()
    await system.stop()
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
