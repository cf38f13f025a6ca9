import { type AppView, changeApp, createApp, findApp, listApps } from '../../../db/apps/apps'
import { AppAnswer, AppBody, AppChanges, AppsAnswer, AppsQuery } from '../../contract/admin'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { type AdminCall, route } from '../../route'
import { actorOf } from '../../send-wish'
import { readPage } from './page'
import { appInPath, requireLive, requireOperator } from './reach'
import { appAnswerOf, settingsOf } from './translate'

const tag = 'Administration'
const example = { name: 'Shop', brand: 'Acme', default_country: 'GH', code_length: 6 }
const content = AppAnswer

export const appRoutes = (deps: ApiDeps) => [
  createRoute(deps),
  listRoute(deps),
  readRoute(deps),
  changeRoute(deps),
]

const createRoute = ({ db }: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/apps',
    operationId: 'createApp',
    tag,
    summary: 'Make an app',
    description: 'Operators only. An app is a tenant: it owns keys, settings and recipients.',
    scope: 'admin',
    body: AppBody,
    example: { app_id: 'shop', ...example },
    replies: { 200: { description: 'Made, with defaults for what was not given.', content } },
    errors: ['ALREADY_EXISTS'],
    async handle({ key, body }) {
      requireOperator(key)
      const { app_id: id, name, ...settings } = body
      const app = await createApp(db, { ...settingsOf(settings), id, name }, actorOf(key))
      if (!app) throw new Problem('ALREADY_EXISTS', { detail: 'There is an app of this id.' })
      return { body: appAnswerOf(app) }
    },
  })

const listRoute = ({ db }: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/apps',
    operationId: 'listApps',
    tag,
    summary: 'List apps',
    description: 'Every app for an operator, its own for the key of one.',
    scope: 'admin',
    query: AppsQuery,
    replies: { 200: { description: 'One page.', content: AppsAnswer } },
    async handle({ key, query }) {
      const { rows, next } = await readPage(query.limit, (limit) =>
        listApps(db, { only: key.app?.id, after: query.cursor, limit }),
      )
      return { body: { apps: rows.map(appAnswerOf), next_cursor: next?.id ?? null } }
    },
  })

const readRoute = ({ db }: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/apps/{app_id}',
    operationId: 'readApp',
    tag,
    summary: 'Read an app’s settings',
    scope: 'admin',
    replies: { 200: { description: 'The app.', content } },
    handle: async (call) => ({ body: appAnswerOf(found(await findApp(db, appInPath(call)))) }),
  })

const changeRoute = ({ db }: ApiDeps) =>
  route({
    method: 'patch',
    path: '/admin/apps/{app_id}',
    operationId: 'changeApp',
    tag,
    summary: 'Change an app’s settings',
    description:
      'What is not given stays. Takes effect within two seconds, on new requests: those under way keep their plan and code. Not with an app’s test key.',
    scope: 'admin',
    body: AppChanges,
    example,
    replies: { 200: { description: 'The app as it is now.', content } },
    async handle(call: AdminCall<AppChanges>) {
      const { key, body } = call
      const id = appInPath(call)
      requireLive(key)
      // Where an app's data may be is not the app's own decision.
      if (body.region !== undefined) requireOperator(key)
      return { body: appAnswerOf(found(await changeApp(db, id, settingsOf(body), actorOf(key)))) }
    },
  })

const found = (app: AppView | undefined): AppView => {
  if (!app) throw new Problem('NOT_FOUND')
  return app
}
