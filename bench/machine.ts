import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'

/** Linux counts CPU time in hundredths of a second, whatever the kernel's own tick. */
const ticksPerSecond = 100

export interface CpuReading {
  /** CPU seconds since its start, by the name of the part; `driver` is this process. */
  parts: Record<string, number>
  /** CPU seconds that the whole machine was busy, and that it had. */
  busy: number
  all: number
}

/** CPU time so far of the given processes, their children (Postgres has many) and the machine. */
export function readCpu(pids: Readonly<Record<string, number>>): CpuReading {
  const children = childrenByParent()
  const secondsOf = (pid: number): number =>
    ownSeconds(pid) + (children.get(pid) ?? []).reduce((sum, child) => sum + secondsOf(child), 0)
  const { user, system } = process.cpuUsage()
  const parts = Object.entries(pids).map(([name, pid]) => [name, secondsOf(pid)] as const)
  const [busy, all] = machineSeconds()
  return { parts: { ...Object.fromEntries(parts), driver: (user + system) / 1e6 }, busy, all }
}

/** What happened between two readings: CPU seconds by part, and the machine's share that others used. */
export function cpuBetween(before: CpuReading, after: CpuReading) {
  const parts = Object.fromEntries(
    Object.entries(after.parts).map(([name, value]) => [name, value - (before.parts[name] ?? 0)]),
  )
  const ours = Object.values(parts).reduce((sum, value) => sum + value, 0)
  const busy = after.busy - before.busy
  return { parts, ours, othersShare: Math.max(0, busy - ours) / (after.all - before.all) }
}

/** The fields of /proc/<pid>/stat after the command's name, which may hold blanks. */
const statOf = (pid: number): string[] => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
  } catch {
    return []
  }
}

/** Its own time and that of its children who ended. */
const ownSeconds = (pid: number): number =>
  statOf(pid)
    .slice(11, 15)
    .reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerSecond

function childrenByParent(): Map<number, number[]> {
  const found = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statOf(Number(name))[1])
    found.set(parent, [...(found.get(parent) ?? []), Number(name)])
  }
  return found
}

function machineSeconds(): [busy: number, all: number] {
  const line = readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? ''
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number)
  const all = ticks.reduce((sum, value) => sum + value, 0)
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0)
  return [(all - idle) / ticksPerSecond, all / ticksPerSecond]
}

/** What a figure means nothing without. */
export function machineFacts(): string {
  const [cpu] = cpus()
  const commit = git('rev-parse', '--short', 'HEAD')
  const edited = git(
    'status',
    '--porcelain',
    '--',
    '*.ts',
    '*.sql',
    '*.json',
    ':!/bench',
    ':!/test',
  )
  return [
    `${new Date().toISOString()}, commit ${commit}${edited ? ' with uncommitted edits' : ''}`,
    `${cpus().length} cores (${cpu?.model.trim()}), Node ${process.versions.node}, load average at the start ${loadavg()[0]?.toFixed(1)}`,
    'Temporal: start-dev in memory, history.transferProcessorMaxPollRPS=2000, history.timerProcessorMaxTimeShift="100ms"',
    'Postgres 18: packaged, fsync on, otherwise its own defaults; one API, one worker, one sandbox process',
  ].join('\n')
}

const git = (...args: string[]): string => {
  try {
    return execFileSync('git', args, { cwd: __dirname, encoding: 'utf8' }).trim()
  } catch {
    return ''
  }
}
