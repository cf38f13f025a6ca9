import { isAlive } from '../db/alive'
import type { PartState, PartStates } from './contract/health'
import type { ApiDeps } from './deps'
import { freshly } from './freshly'

/** A part that takes longer than this is down; milliseconds. */
const patienceMs = 2_000
/** A readiness probe may itself be given up after 1 s, so what does not decide it may not hold it up for longer. */
const glanceMs = 250
/** A state older than this says nothing about now; milliseconds. */
const staleMs = 5_000

/** The parts that this process works with, each asked at most once a second by however many callers. */
export interface Parts {
  /** Waits for every answer, 2 s at most. */
  all: () => Promise<PartStates>
  /** Waits for Postgres alone: a part that is slower than 250 ms shows what it last said, or `unknown`. */
  glance: () => Promise<PartStates>
}

export function watchParts({
  readinessDb,
  engine,
  sandboxUrl,
}: Pick<ApiDeps, 'readinessDb' | 'engine' | 'sandboxUrl'>): Parts {
  const postgres = watch(() => isAlive(readinessDb))
  const temporal = watch(() => engine.healthy())
  const worker = watch(() => engine.workerIsPolling())
  const sandbox = sandboxUrl === undefined ? undefined : watch(() => answersAt(sandboxUrl))
  const states = async (ask: (part: Part) => Promise<PartState>): Promise<PartStates> => {
    const [ofPostgres, ofTemporal, ofWorker, ofSandbox] = await Promise.all([
      postgres.ask(),
      ask(temporal),
      ask(worker),
      sandbox && ask(sandbox),
    ])
    return {
      postgres: ofPostgres,
      temporal: ofTemporal,
      worker: ofWorker,
      ...(ofSandbox && { sandbox: ofSandbox }),
    }
  }
  return {
    all: () => states((part) => part.ask()),
    glance: () => states((part) => part.glance()),
  }
}

interface Part {
  ask: () => Promise<PartState>
  glance: () => Promise<PartState>
}

function watch(isUp: () => Promise<boolean>): Part {
  let last: { state: PartState; at: number } | undefined
  const ask = freshly(async () => {
    const state = await first(isUp, patienceMs, false).then((up) => (up ? 'ok' : 'down'))
    last = { state, at: performance.now() }
    return state
  })
  const lastSaid = (): PartState =>
    last && performance.now() - last.at < staleMs ? last.state : 'unknown'
  return { ask, glance: async () => (await first(ask, glanceMs, undefined)) ?? lastSaid() }
}

/** What `ask` finds, or `otherwise` when it fails or takes longer than `withinMs`. */
async function first<T, Otherwise>(
  ask: () => Promise<T>,
  withinMs: number,
  otherwise: Otherwise,
): Promise<T | Otherwise> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Otherwise>((resolve) => {
    timer = setTimeout(resolve, withinMs, otherwise)
  })
  const found = await Promise.race([ask().catch(() => otherwise), late])
  clearTimeout(timer)
  return found
}

async function answersAt(sandboxUrl: string): Promise<boolean> {
  const response = await fetch(new URL('/healthz', sandboxUrl), {
    signal: AbortSignal.timeout(patienceMs),
  })
  await response.body?.cancel()
  return response.ok
}
