import {
  addTestEvent,
  type DeliveryRow,
  findEvent,
  listDeliveries,
  replayEvent,
  replayFailed,
} from '../../../db/events/log'
import {
  type EventDelivery,
  EventDeliveriesAnswer,
  EventDeliveriesQuery,
  eventId,
  ReplayEventAnswer,
  ReplayEventBody,
  ReplayFailedAnswer,
  ReplayFailedBody,
  TestEventAnswer,
} from '../../contract/events'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { endpointInPath, ownEndpointInPath, whatOfEndpoints } from './endpoint-in-path'
import { readPage } from './page'
import { findAppIn, requireEnvironment } from './reach'

const tag = 'Events'
const replaysAtOnce = 1_000

export const eventRoutes = (deps: ApiDeps) => [
  testRoute(deps),
  deliveriesRoute(deps),
  replayFailedRoute(deps),
  replayRoute(deps),
]

const testRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/event-endpoints/{endpoint_id}/test',
    operationId: 'sendTestEvent',
    tag,
    summary: 'Send an event of the type test',
    description: 'The list of deliveries tells how it was received.',
    scope: 'admin',
    replies: { 200: { description: 'On its way.', content: TestEventAnswer } },
    errors: ['INVALID_ENDPOINT'],
    async handle(call) {
      const made = await addTestEvent(deps.db, await ownEndpointInPath(deps, call))
      if (!made) throw disabled()
      return { body: { event_id: made.eventId, delivery_id: made.deliveryId } }
    },
  })

const deliveriesRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/event-endpoints/{endpoint_id}/deliveries',
    operationId: 'listEventDeliveries',
    tag,
    summary: 'Read what was sent to an endpoint, and every try',
    scope: 'admin',
    query: EventDeliveriesQuery,
    replies: { 200: { description: 'One page, newest first.', content: EventDeliveriesAnswer } },
    async handle(call) {
      const { id } = await endpointInPath(deps, call)
      const { state, limit, cursor } = call.query
      const { rows, next } = await readPage(limit, (most) =>
        listDeliveries(deps.db, { endpointId: id, state, after: cursor, limit: most }),
      )
      return { body: { deliveries: rows.map(answerOf), next_cursor: next?.id ?? null } }
    },
  })

const replayFailedRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/event-endpoints/{endpoint_id}/deliveries/replay',
    operationId: 'replayFailedEvents',
    tag,
    summary: 'Send again what an endpoint has not received',
    description: `Up to ${replaysAtOnce} events, the oldest first.`,
    scope: 'admin',
    body: ReplayFailedBody,
    example: { since: '2026-11-23T00:00:00Z' },
    replies: { 200: { description: 'On their way.', content: ReplayFailedAnswer } },
    errors: ['INVALID_ENDPOINT'],
    async handle(call) {
      const { id, appId, disabledReason } = await ownEndpointInPath(deps, call)
      if (disabledReason !== null) throw disabled()
      const replayed = await replayFailed(deps.db, {
        endpointId: id,
        since: new Date(call.body.since),
        limit: replaysAtOnce,
        appId,
        actor: actorOf(call.key),
      })
      return { body: { replayed, more: replayed === replaysAtOnce } }
    },
  })

const replayRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/events/{event_id}/replay',
    operationId: 'replayEvent',
    tag,
    summary: 'Send an event again',
    description:
      'To every endpoint that it was written for and that is not disabled, received or not. Its webhook-id stays the same.',
    scope: 'admin',
    body: ReplayEventBody,
    bodyOptional: true,
    example: {},
    replies: { 200: { description: 'On its way.', content: ReplayEventAnswer } },
    async handle({ key, params, body }) {
      const { success, data } = eventId.safeParse(params.event_id)
      const event = success && (await findEvent(deps.db, data))
      if (!event) throw new Problem('NOT_FOUND')
      const { id: appId } = await findAppIn(deps, key, event.appId)
      requireEnvironment(key, event, whatOfEndpoints)
      const replay = { eventId: data, endpointId: body.endpoint_id, appId, actor: actorOf(key) }
      const deliveries = await replayEvent(deps.db, replay)
      return {
        body: {
          event_id: data,
          deliveries: deliveries.map(({ id, endpointId }) => ({
            delivery_id: id,
            endpoint_id: endpointId,
          })),
        },
      }
    },
  })

const disabled = () =>
  new Problem('INVALID_ENDPOINT', { detail: 'This endpoint is disabled: enable it first.' })

const answerOf = (row: DeliveryRow): EventDelivery => ({
  delivery_id: row.id,
  event_id: row.eventId,
  type: row.type,
  request_id: row.requestId,
  state: row.state,
  replays: row.replays,
  created_at: row.createdAt.toISOString(),
  delivered_at: row.deliveredAt?.toISOString() ?? null,
  tries: row.tries.map(({ httpStatus, ...made }) => ({ ...made, http_status: httpStatus })),
})
