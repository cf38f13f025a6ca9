import { z } from 'zod'
import { scopeOfRow } from '../../core/protection/scopes'
import { noStanding, type Standing, together } from '../../core/protection/standing'

export const StandingRow = z.strictObject({
  name: z.string(),
  pending: z.number(),
  passed: z.number(),
  passedHour: z.number(),
  failed: z.number(),
  passedDay: z.number(),
  failedHour: z.number(),
  passedEver: z.number(),
  failedEver: z.number(),
  places: z.array(z.int()),
}) satisfies z.ZodType<Standing & { name: string }>

/** One row of a scope's, as of one moment. */
export type StandingRow = z.infer<typeof StandingRow>

/** How scopes stand: the rows of each together. */
export function byScope(rows: readonly StandingRow[]): Map<string, Standing> {
  const standings = new Map<string, Standing>()
  for (const { name, ...standing } of rows) {
    const scope = scopeOfRow(name)
    standings.set(scope, together(standings.get(scope) ?? noStanding, standing))
  }
  return standings
}
