import { backlogSeconds } from '../core/limits'
import { oldestUnclaimedSeconds } from '../db/requests/backlog'
import { unhealthyProviders } from '../db/attempts/provider-health'
import type { Queries } from '../db/index'

const freshMs = 1_000

/** How the parts behind the API are doing, asked at most once a second. */
export interface HealthView {
  /** Provider accounts that failed often of late. */
  unhealthy: () => Promise<readonly string[]>
  /** Workers are so far behind that a code accepted now would come too late. */
  isBacklogged: () => Promise<boolean>
}

export const createHealthView = (db: Queries): HealthView => ({
  unhealthy: freshly(() => unhealthyProviders(db)),
  isBacklogged: freshly(async () => (await oldestUnclaimedSeconds(db)) > backlogSeconds),
})

/** Keeps an answer for a second; a failure is not kept. */
function freshly<T>(ask: () => Promise<T>): () => Promise<T> {
  let seen: { answer: Promise<T>; until: number } | undefined
  return () => {
    if (seen && seen.until > performance.now()) return seen.answer
    const answer = ask()
    answer.catch(() => (seen = undefined))
    seen = { answer, until: performance.now() + freshMs }
    return answer
  }
}
