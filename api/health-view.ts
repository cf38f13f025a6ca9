import type { Queries } from '../db/index'
import { unhealthyProviders } from '../db/health'

const freshMs = 1_000

/** Which provider accounts failed often of late, asked at most once a second. */
export interface HealthView {
  unhealthy: () => Promise<readonly string[]>
}

export function createHealthView(db: Queries): HealthView {
  let seen: { names: Promise<readonly string[]>; until: number } | undefined
  return {
    unhealthy() {
      if (seen && seen.until > performance.now()) return seen.names
      const names = unhealthyProviders(db)
      names.catch(() => (seen = undefined))
      seen = { names, until: performance.now() + freshMs }
      return names
    },
  }
}
