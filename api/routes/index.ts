import type { ApiDeps } from '../deps'
import { createHealthView } from '../health-view'
import type { Route } from '../route'
import { cancelRoute, nextRoute, resendRoute } from './commands'
import { documentationRoutes } from './documentation'
import { healthRoutes } from './health'
import { preferenceRoutes } from './preferences'
import { genericReceiptRoute, providerReceiptRoute } from './receipts'
import { searchRoute } from './search'
import { sendRoute } from './send'
import { statusRoute } from './status'
import { ussdRoute } from './ussd'
import { verifyRoute } from './verify'

/** Every route of the API, in the order of its documentation. */
export function createRoutes(deps: ApiDeps): Route[] {
  const health = createHealthView(deps.db)
  const routes = [
    sendRoute(deps, health),
    verifyRoute(deps),
    statusRoute(deps),
    resendRoute(deps, health),
    nextRoute(deps),
    cancelRoute(deps),
    searchRoute(deps),
    ...preferenceRoutes(deps),
    genericReceiptRoute(deps),
    providerReceiptRoute(deps),
    ussdRoute(deps),
    ...healthRoutes(deps),
  ]
  return [...routes, ...documentationRoutes(routes, deps.publicUrl)]
}
