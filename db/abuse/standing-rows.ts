import { scopeOfRow } from '../../core/abuse/scopes'
import { noStanding, type Standing, together } from '../../core/abuse/standing'

/** One row of a scope's, as of one moment. */
export type StandingRow = Standing & { name: string }

/** How scopes stand: the rows of each together. */
export function byScope(rows: readonly StandingRow[]): Map<string, Standing> {
  const standings = new Map<string, Standing>()
  for (const { name, ...standing } of rows) {
    const scope = scopeOfRow(name)
    standings.set(scope, together(standings.get(scope) ?? noStanding, standing))
  }
  return standings
}
