import { createChallenges } from '../challenges'
import type { ApiDeps } from '../deps'
import { createGuessing } from '../guessing'
import { createHealthView } from '../health-view'
import { createHooks } from '../protection/hook'
import type { Route } from '../route'
import { alertRoutes } from './admin/alerts'
import { appRoutes } from './admin/apps'
import { auditRoute } from './admin/audit'
import { budgetsRoute } from './admin/budgets'
import { blockRoutes } from './admin/blocks'
import { erasureRoute } from './admin/erasure'
import { eventEndpointRoutes } from './admin/event-endpoints'
import { eventRoutes } from './admin/events'
import { keyRoutes } from './admin/keys'
import { hookRoutes } from './admin/pre-send-hook'
import { listRoutes } from './admin/lists'
import { providersRoute } from './admin/providers'
import { recipientRoutes } from './admin/recipients'
import { templateRoutes } from './admin/templates'
import { testNumberRoutes } from './admin/test-numbers'
import { callRoutes } from './calls'
import { challengeRoute } from './challenge'
import { cancelRoute, nextRoute, resendRoute } from './commands'
import { withdrawRoute } from './consent'
import { documentationRoutes } from './documentation'
import { healthRoutes } from './health'
import { inboundRoutes } from './inbound'
import { preferenceRoutes } from './preferences'
import { accountCallbackRoutes, messageCallbackRoutes } from './provider-callbacks'
import { genericReceiptRoute } from './receipts'
import { runbookRoute } from './runbooks'
import { searchRoute } from './search'
import { sendRoute } from './send'
import { statusRoute } from './status'
import { ussdRoutes } from './ussd'
import { verifyRoute } from './verify'

/** Every route of the API, in the order of its documentation. */
export function createRoutes(deps: ApiDeps): Route[] {
  const health = createHealthView(deps.db, deps.region)
  // On the checks' pool: a check may have to spend one while sends wait for Postgres.
  const challenges = createChallenges({
    db: deps.checksDb,
    keyring: deps.keyring,
    accounts: deps.challengeAccounts,
    logger: deps.logger,
  })
  const guessing = createGuessing(deps)
  const hooks = createHooks(deps)
  const routes = [
    sendRoute(deps, { health, challenges, guessing, hooks }),
    challengeRoute(deps, challenges),
    verifyRoute(deps, { challenges, guessing }),
    statusRoute(deps),
    resendRoute(deps, health),
    nextRoute(deps),
    cancelRoute(deps),
    searchRoute(deps),
    ...preferenceRoutes(deps),
    withdrawRoute(deps),
    genericReceiptRoute(deps),
    ...accountCallbackRoutes(deps),
    ...inboundRoutes(deps),
    ...messageCallbackRoutes(deps),
    ...callRoutes(deps),
    ...ussdRoutes(deps),
    ...appRoutes(deps),
    ...templateRoutes(deps),
    ...keyRoutes(deps),
    ...recipientRoutes(deps),
    erasureRoute(deps),
    ...listRoutes(deps),
    ...testNumberRoutes(deps),
    auditRoute(deps),
    providersRoute(deps),
    budgetsRoute(deps),
    ...blockRoutes(deps),
    ...hookRoutes(deps, hooks),
    ...eventEndpointRoutes(deps),
    ...eventRoutes(deps),
    ...alertRoutes(deps),
    ...healthRoutes(deps),
    runbookRoute(),
  ]
  return [...routes, ...documentationRoutes(routes, deps)]
}
