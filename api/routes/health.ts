import { HealthAnswer, PartsAnswer, ReadinessAnswer } from '../contract/health'
import type { ApiDeps } from '../deps'
import { type Parts, watchParts } from '../parts'
import { route } from '../route'

export function healthRoutes(deps: ApiDeps) {
  const parts = watchParts(deps)
  return [
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
      path: '/healthz/parts',
      operationId: 'parts',
      tag: 'Health',
      summary: 'How each part of the service does',
      description:
        'For people and alerts. The status code is 200 whatever the parts say: a balancer asks `/readyz`.',
      scope: null,
      plainHttp: true,
      replies: { 200: { description: 'The state of each part.', content: PartsAnswer } },
      async handle() {
        const states = await parts.all()
        return { body: { status: allAnswer(states) ? 'ok' : 'degraded', parts: states } }
      },
    }),
    route({
      method: 'get',
      path: '/readyz',
      operationId: 'readiness',
      tag: 'Health',
      summary: 'Whether this process can take calls',
      description:
        'Decided by this process and Postgres alone: codes are checked while Temporal, every worker or the sandbox is down. `parts` says how those do.',
      scope: null,
      plainHttp: true,
      replies: {
        200: { description: 'It takes calls.', content: ReadinessAnswer },
        503: {
          description: 'Postgres does not answer, or the process is about to end.',
          content: ReadinessAnswer,
        },
      },
      handle: readiness(deps, parts),
    }),
  ]
}

const allAnswer = (states: object): boolean =>
  Object.values(states).every((state) => state === 'ok')

/** Once ready, a process stays so while Postgres answers; what its first time takes is `deps.readyAfter`. */
function readiness({ draining, readyAfter = 'postgres' }: ApiDeps, parts: Parts) {
  let waitsForAll = readyAfter === 'everything'
  return async () => {
    const states = await (waitsForAll ? parts.all() : parts.glance())
    const isReady = waitsForAll ? allAnswer(states) : states.postgres === 'ok'
    if (isReady) waitsForAll = false
    const status = draining.aborted ? 'draining' : isReady ? 'ready' : 'not_ready'
    return { status: status === 'ready' ? 200 : 503, body: { status, parts: states } }
  }
}
