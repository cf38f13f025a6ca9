import { z } from 'zod'
import { named } from './registry'

const part = z.enum(['ok', 'down', 'unknown'])
export type PartState = z.infer<typeof part>

export const HealthAnswer = named('HealthAnswer', z.object({ status: z.literal('ok') }))

const parts = z
  .object({
    postgres: part,
    temporal: part,
    worker: part.describe('Whether a worker polls the task queue.'),
    sandbox: part.optional().describe('Where one is configured.'),
  })
  .describe('What the service consists of. `unknown`: it has not answered yet.')
export type PartStates = z.infer<typeof parts>

export const ReadinessAnswer = named(
  'ReadinessAnswer',
  z.object({ status: z.enum(['ready', 'not_ready', 'draining']), parts }),
)
export type ReadinessAnswer = z.infer<typeof ReadinessAnswer>

export const PartsAnswer = named(
  'PartsAnswer',
  z.object({
    status: z.enum(['ok', 'degraded']).describe('`degraded`: a part does not answer.'),
    parts,
  }),
)
