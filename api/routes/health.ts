import { sql } from 'drizzle-orm'
import { HealthAnswer, ReadinessAnswer } from '../contract/health'
import type { ApiDeps } from '../deps'
import { route } from '../route'

const patienceMs = 2_000

export const healthRoutes = (deps: ApiDeps) => [
  route({
    method: 'get',
    path: '/healthz',
    operationId: 'health',
    tag: 'Health',
    summary: 'Whether this process runs',
    scope: null,
    plainHttp: true,
    replies: { 200: { description: 'It runs.', content: HealthAnswer } },
    handle: async () => ({ body: { status: 'ok' } }),
  }),
  route({
    method: 'get',
    path: '/readyz',
    operationId: 'readiness',
    tag: 'Health',
    summary: 'Whether this process can do its work',
    scope: null,
    plainHttp: true,
    replies: {
      200: { description: 'Every part answers.', content: ReadinessAnswer },
      503: {
        description: 'A part is down, or the process is about to end.',
        content: ReadinessAnswer,
      },
    },
    async handle() {
      const parts = await askParts(deps)
      const isReady = Object.values(parts).every((part) => part === 'ok')
      const status = deps.draining.aborted ? 'draining' : isReady ? 'ready' : 'not_ready'
      return { status: status === 'ready' ? 200 : 503, body: { status, parts } }
    },
  }),
]

async function askParts({
  db,
  engine,
  requireWorker,
  sandboxUrl,
}: ApiDeps): Promise<ReadinessAnswer['parts']> {
  const [postgres, temporal, worker, sandbox] = await Promise.all([
    answers(() => db.one(sql`select 1`).then(() => true)),
    answers(() => engine.healthy()),
    requireWorker ? answers(() => engine.workerIsPolling()) : undefined,
    sandboxUrl === undefined ? undefined : answers(() => isUp(new URL('/healthz', sandboxUrl))),
  ])
  return { postgres, temporal, ...(worker && { worker }), ...(sandbox && { sandbox }) }
}

/** A part that throws, or takes longer than two seconds, is down. */
async function answers(ask: () => Promise<boolean>): Promise<'ok' | 'down'> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, patienceMs, false)
  })
  const isUp = await Promise.race([ask().catch(() => false), late])
  clearTimeout(timer)
  return isUp ? 'ok' : 'down'
}

async function isUp(url: URL): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(patienceMs) })
  await response.body?.cancel()
  return response.ok
}
