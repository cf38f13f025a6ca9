import { environments, isLive } from '../../../core/requests/state'
import { acknowledgeAlert, findAlert, listAlerts } from '../../../db/alerts/alerts'
import type { ApiKey } from '../../../db/apps/api-keys'
import { alertAnswerOf } from '../../alert-answer'
import { AlertAnswer, alertId, AlertsAnswer, AlertsQuery } from '../../contract/alerts'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { readPage } from './page'
import { appsIn, findAppIn, isTestKeyOfApp, requireEnvironment, requireOperator } from './reach'

const tag = 'Alerts'

export const alertRoutes = (deps: ApiDeps) => [listRoute(deps), acknowledgeRoute(deps)]

const listRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/alerts',
    operationId: 'listAlerts',
    tag,
    summary: 'List alerts',
    description:
      'An app’s key sees those of its app, its test key those of test environments; an operator’s key sees all, also those about the installation.',
    scope: 'admin',
    query: AlertsQuery,
    replies: { 200: { description: 'One page, newest first.', content: AlertsAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const { db, publicUrl } = deps
      const { state, rule, from, to, limit, cursor } = query
      const apps = await appsIn(deps, key, query.app_id)
      const { rows, next } = await readPage(limit, (most) =>
        listAlerts(db, {
          ...{
            ...apps,
            environments: environmentsOf(key),
            rule,
            state,
            after: cursor,
            limit: most,
          },
          from: from === undefined ? undefined : new Date(from),
          to: to === undefined ? undefined : new Date(to),
        }),
      )
      const alerts = rows.map((row) => alertAnswerOf(row, publicUrl))
      return { body: { alerts, next_cursor: next?.id ?? null } }
    },
  })

const environmentsOf = (key: ApiKey) =>
  isTestKeyOfApp(key) ? environments.filter((environment) => !isLive(environment)) : undefined

const acknowledgeRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/alerts/{alert_id}/acknowledge',
    operationId: 'acknowledgeAlert',
    tag,
    summary: 'Say that somebody looks after an alert',
    description:
      'There are no more reminders of it. A second time, or after its end, nothing changes.',
    scope: 'admin',
    replies: { 200: { description: 'The alert as it is now.', content: AlertAnswer } },
    async handle({ key, params }) {
      const { success, data } = alertId.safeParse(params.alert_id)
      const known = success ? await findAlert(deps.db, data) : undefined
      if (!known) throw new Problem('NOT_FOUND')
      if (known.appId === null) requireOperator(key)
      else await findAppIn(deps, key, known.appId)
      requireEnvironment(key, known, 'alerts of the live environment')
      const row = await acknowledgeAlert(deps.db, { id: known.id, actor: actorOf(key) })
      return { body: alertAnswerOf(row ?? known, deps.publicUrl) }
    },
  })
