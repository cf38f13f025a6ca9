import { z } from 'zod'
import { named } from './registry'

const part = z.enum(['ok', 'down'])

export const HealthAnswer = named('HealthAnswer', z.object({ status: z.literal('ok') }))

export const ReadinessAnswer = named(
  'ReadinessAnswer',
  z.object({
    status: z.enum(['ready', 'not_ready', 'draining']),
    parts: z
      .object({
        postgres: part,
        temporal: part,
        worker: part.optional().describe('Whether a worker polls the task queue.'),
        sandbox: part.optional(),
      })
      .describe('Each part this process needs.'),
  }),
)
export type ReadinessAnswer = z.infer<typeof ReadinessAnswer>
