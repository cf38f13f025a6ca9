import { makeSecret } from '../../../codes/standard-webhook'
import {
  findHook,
  type PreSendHook,
  putHook,
  removeHook,
  rotateHookSecret,
} from '../../../db/apps/pre-send-hooks'
import { AppQuery } from '../../contract/admin'
import { RotatedSecretAnswer } from '../../contract/events'
import {
  HookAnswer,
  HookBody,
  HookRotation,
  PutHookAnswer,
  RemovedHookAnswer,
} from '../../contract/hooks'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import type { Hooks } from '../../protection/hook'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { findAppIn, requireLive } from './reach'
import { requireReachable } from './reachable-url'

const tag = 'Abuse protection'
const path = '/admin/pre-send-hook'

export const hookRoutes = (deps: ApiDeps, hooks: Hooks) => [
  putRoute(deps, hooks),
  readRoute(deps),
  removeRoute(deps, hooks),
  rotateRoute(deps, hooks),
]

const putRoute = (deps: ApiDeps, hooks: Hooks) =>
  route({
    method: 'put',
    path,
    operationId: 'putPreSendHook',
    tag,
    summary: 'Have an app asked before each send',
    description:
      'Calls are signed as Standard Webhooks define it, with the secret in the answer that registers the hook; a change keeps it. Other processes go by a change within 5 s. Not with an app’s test key.',
    scope: 'admin',
    body: HookBody,
    replies: { 200: { description: 'Registered, or changed.', content: PutHookAnswer } },
    errors: ['INVALID_ENDPOINT', 'NOT_FOUND'],
    async handle({ key, body }) {
      const { id: appId } = await findAppIn(deps, key, body.app_id)
      requireLive(key)
      const url = await requireReachable(deps, body.url)
      const secret = makeSecret()
      const { isNew, ...hook } = await putHook(deps.db, deps.keyring, {
        appId,
        url,
        onFailure: body.on_failure,
        secret,
        actor: actorOf(key),
      })
      hooks.forget()
      return { body: { ...answerOf(hook), ...(isNew && { secret }) } }
    },
  })

const readRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path,
    operationId: 'readPreSendHook',
    tag,
    summary: 'Read where an app is asked before each send',
    scope: 'admin',
    query: AppQuery,
    replies: { 200: { description: 'Without its secret.', content: HookAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const { id } = await findAppIn(deps, key, query.app_id)
      const hook = await findHook(deps.db, id)
      if (!hook) throw new Problem('NOT_FOUND', { detail: 'This app has no pre-send hook.' })
      return { body: answerOf(hook) }
    },
  })

const removeRoute = (deps: ApiDeps, hooks: Hooks) =>
  route({
    method: 'delete',
    path,
    operationId: 'removePreSendHook',
    tag,
    summary: 'Ask an app no more before its sends',
    description: 'Not with an app’s test key.',
    scope: 'admin',
    query: AppQuery,
    replies: { 200: { description: 'It is not called any more.', content: RemovedHookAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const { id: appId } = await findAppIn(deps, key, query.app_id)
      requireLive(key)
      const removed = await removeHook(deps.db, { appId, actor: actorOf(key) })
      hooks.forget()
      return { body: { removed } }
    },
  })

const rotateRoute = (deps: ApiDeps, hooks: Hooks) =>
  route({
    method: 'post',
    path: `${path}/rotate-secret`,
    operationId: 'rotatePreSendHookSecret',
    tag,
    summary: 'Give a pre-send hook a new secret',
    description: 'Calls carry the signatures of both for a day. Not with an app’s test key.',
    scope: 'admin',
    body: HookRotation,
    bodyOptional: true,
    replies: {
      200: { description: 'The new secret, shown this once.', content: RotatedSecretAnswer },
    },
    errors: ['NOT_FOUND'],
    async handle({ key, body }) {
      const { id: appId } = await findAppIn(deps, key, body.app_id)
      requireLive(key)
      const secret = makeSecret()
      const place = { appId, secret, actor: actorOf(key) }
      const until = await rotateHookSecret(deps.db, deps.keyring, place)
      if (!until) throw new Problem('NOT_FOUND', { detail: 'This app has no pre-send hook.' })
      hooks.forget()
      return { body: { secret, previous_until: until.toISOString() } }
    },
  })

const answerOf = ({ appId, url, onFailure, changedAt }: PreSendHook): HookAnswer => ({
  app_id: appId,
  url,
  on_failure: onFailure,
  changed_at: changedAt.toISOString(),
})
