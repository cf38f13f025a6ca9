import { findBehind } from '../db/requests/backlog'
import type { Owner } from '../db/requests/owner'
import { unhealthyProviders } from '../db/delivery/breakers'
import { readRouteSuccess, type RouteSuccess } from '../db/delivery/provider-hours'
import type { Queries } from '../db/index'
import { freshly } from './freshly'

/** How the parts behind the API are doing, asked at most once a second. */
export interface HealthView {
  /** Channels of provider accounts that are to be tried last: see `unhealthyOn`. */
  unhealthy: () => Promise<readonly string[]>
  /** How routes did in the last hours. */
  record: () => Promise<readonly RouteSuccess[]>
  /** Workers are so far behind with an app that a code accepted now would come too late. */
  isBacklogged: (owner: Owner) => Promise<boolean>
}

/** @param region of this process: apps of others do not count */
export function createHealthView(db: Queries, region: string | undefined): HealthView {
  const behind = freshly(() => findBehind(db, region))
  return {
    unhealthy: freshly(() => unhealthyProviders(db)),
    record: freshly(() => readRouteSuccess(db)),
    isBacklogged: async ({ appId, environment }) =>
      (await behind()).some(
        (those) =>
          those.environment === environment && (those.appId === null || those.appId === appId),
      ),
  }
}

/** What routing asks of it. */
export async function healthOf({ unhealthy, record }: HealthView) {
  const [avoided, achieved] = await Promise.all([unhealthy(), record()])
  return { unhealthy: avoided, record: achieved }
}
