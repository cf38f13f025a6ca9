import { makeSecret } from '../../../codes/standard-webhook'
import {
  addEndpoint,
  changeEndpoint,
  deleteEndpoint,
  type EventEndpoint,
  listEndpoints,
  maxEndpoints,
  rotateSecret,
} from '../../../db/events/endpoints'
import {
  DeletedEndpointAnswer,
  EventEndpointAnswer,
  EventEndpointBody,
  EventEndpointChanges,
  EventEndpointsAnswer,
  EventEndpointsQuery,
  MadeEventEndpointAnswer,
  RotatedSecretAnswer,
} from '../../contract/events'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { endpointInPath, ownEndpointInPath, whatOfEndpoints } from './endpoint-in-path'
import { findAppIn, requireEnvironment } from './reach'
import { requireReachable } from './reachable-url'

const tag = 'Events'

export const eventEndpointRoutes = (deps: ApiDeps) => [
  createRoute(deps),
  listRoute(deps),
  readRoute(deps),
  changeRoute(deps),
  deleteRoute(deps),
  rotateRoute(deps),
]

const createRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/event-endpoints',
    operationId: 'createEventEndpoint',
    tag,
    summary: 'Have an app told of events',
    description: 'Calls are signed as Standard Webhooks define it, with the secret in this answer.',
    scope: 'admin',
    body: EventEndpointBody,
    replies: { 200: { description: 'Registered.', content: MadeEventEndpointAnswer } },
    errors: ['INVALID_ENDPOINT', 'NOT_FOUND'],
    async handle({ key, body }) {
      const { id: appId } = await findAppIn(deps, key, body.app_id)
      requireEnvironment(key, body, whatOfEndpoints)
      const url = await requireReachable(deps, body.url)
      const secret = makeSecret()
      const made = await addEndpoint(deps.db, deps.keyring, {
        appId,
        environment: body.environment,
        url,
        description: body.description ?? '',
        types: body.types ?? null,
        secret,
        actor: actorOf(key),
      })
      if (!made) throw refusal(`An app has at most ${maxEndpoints} of them in an environment.`)
      return { body: { ...answerOf(made), secret } }
    },
  })

const listRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/event-endpoints',
    operationId: 'listEventEndpoints',
    tag,
    summary: 'List where an app is told of events',
    scope: 'admin',
    query: EventEndpointsQuery,
    replies: {
      200: { description: 'All of them, without secrets.', content: EventEndpointsAnswer },
    },
    errors: ['NOT_FOUND'],
    async handle({ key, query: { app_id, environment } }) {
      const { id: appId } = await findAppIn(deps, key, app_id)
      const found = await listEndpoints(deps.db, { appId, environment })
      return { body: { endpoints: found.map(answerOf) } }
    },
  })

const readRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/event-endpoints/{endpoint_id}',
    operationId: 'readEventEndpoint',
    tag,
    summary: 'Read an endpoint, and whether it fails',
    scope: 'admin',
    replies: { 200: { description: 'Without its secret.', content: EventEndpointAnswer } },
    handle: async (call) => ({ body: answerOf(await endpointInPath(deps, call)) }),
  })

const changeRoute = (deps: ApiDeps) =>
  route({
    method: 'patch',
    path: '/admin/event-endpoints/{endpoint_id}',
    operationId: 'changeEventEndpoint',
    tag,
    summary: 'Change, disable or enable an endpoint',
    description:
      'Disabling gives up what is under way. What was missed can be replayed once it is enabled.',
    scope: 'admin',
    body: EventEndpointChanges,
    replies: { 200: { description: 'Changed.', content: EventEndpointAnswer } },
    errors: ['INVALID_ENDPOINT'],
    async handle(call) {
      const found = await ownEndpointInPath(deps, call)
      const { url: wish, ...rest } = call.body
      const url = wish === undefined ? undefined : await requireReachable(deps, wish)
      const place = { ...found, actor: actorOf(call.key) }
      const changed = await changeEndpoint(deps.db, place, { ...rest, url })
      if (!changed) throw new Problem('NOT_FOUND')
      return { body: answerOf(changed) }
    },
  })

const deleteRoute = (deps: ApiDeps) =>
  route({
    method: 'delete',
    path: '/admin/event-endpoints/{endpoint_id}',
    operationId: 'deleteEventEndpoint',
    tag,
    summary: 'Forget an endpoint',
    scope: 'admin',
    replies: { 200: { description: 'Nothing is sent to it.', content: DeletedEndpointAnswer } },
    async handle(call) {
      const found = await ownEndpointInPath(deps, call)
      const place = { ...found, actor: actorOf(call.key) }
      return { body: { deleted: await deleteEndpoint(deps.db, deps.keyring, place) } }
    },
  })

const rotateRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/event-endpoints/{endpoint_id}/rotate-secret',
    operationId: 'rotateEventSecret',
    tag,
    summary: 'Give an endpoint a new secret',
    description: 'Events carry the signatures of both for a day.',
    scope: 'admin',
    replies: {
      200: { description: 'The new secret, shown this once.', content: RotatedSecretAnswer },
    },
    async handle(call) {
      const found = await ownEndpointInPath(deps, call)
      const secret = makeSecret()
      const place = { ...found, actor: actorOf(call.key) }
      const until = await rotateSecret(deps.db, deps.keyring, place, secret)
      if (!until) throw new Problem('NOT_FOUND')
      return { body: { secret, previous_until: until.toISOString() } }
    },
  })

const refusal = (detail: string) => new Problem('INVALID_ENDPOINT', { detail })

const answerOf = (endpoint: EventEndpoint): EventEndpointAnswer => ({
  endpoint_id: endpoint.id,
  app_id: endpoint.appId,
  environment: endpoint.environment,
  url: endpoint.url,
  types: endpoint.types,
  description: endpoint.description,
  disabled: endpoint.disabledReason,
  failing_since: endpoint.failingSince?.toISOString() ?? null,
  created_at: endpoint.createdAt.toISOString(),
})
