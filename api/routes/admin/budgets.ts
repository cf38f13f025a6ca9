import { BudgetsAnswer, BudgetsQuery } from '../../contract/budgets'
import { reportBudgets } from '../../budget-report'
import type { ApiDeps } from '../../deps'
import { route } from '../../route'
import { findAppIn, isTestKeyOfApp } from './reach'

export const budgetsRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/budgets',
    operationId: 'listBudgets',
    tag: 'Administration',
    summary: 'Show what an app has spent and may spend',
    description:
      'The hour and the day under way, by UTC, and where the money of the day went. A test key is shown what test keys spent. The budgets themselves are in the policy file.',
    scope: 'admin',
    query: BudgetsQuery,
    replies: { 200: { description: 'Its budgets.', content: BudgetsAnswer } },
    async handle({ key, query }) {
      const { id: appId } = await findAppIn(deps, key, query.app_id)
      const kinds = isTestKeyOfApp(key) ? [false] : [true, false]
      return { body: await reportBudgets(deps.db, deps.routing, { appId, kinds }) }
    },
  })
