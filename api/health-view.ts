import { backlogSeconds } from '../core/limits'
import { oldestUnclaimedSeconds } from '../db/requests/backlog'
import { unhealthyProviders } from '../db/attempts/breakers'
import { readRouteSuccess, type RouteSuccess } from '../db/attempts/provider-hours'
import type { Queries } from '../db/index'
import { freshly } from './freshly'

/** How the parts behind the API are doing, asked at most once a second. */
export interface HealthView {
  /** Channels of provider accounts that are to be tried last: see `unhealthyOn`. */
  unhealthy: () => Promise<readonly string[]>
  /** How routes did in the last hours. */
  record: () => Promise<readonly RouteSuccess[]>
  /** Workers are so far behind that a code accepted now would come too late. */
  isBacklogged: () => Promise<boolean>
}

export const createHealthView = (db: Queries): HealthView => ({
  unhealthy: freshly(() => unhealthyProviders(db)),
  record: freshly(() => readRouteSuccess(db)),
  isBacklogged: freshly(async () => (await oldestUnclaimedSeconds(db)) > backlogSeconds),
})

/** What routing asks of it. */
export async function healthOf({ unhealthy, record }: HealthView) {
  const [avoided, achieved] = await Promise.all([unhealthy(), record()])
  return { unhealthy: avoided, record: achieved }
}
