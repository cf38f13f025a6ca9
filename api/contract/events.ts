import { z } from 'zod'
import {
  chosenEventTypes,
  deliveryStates,
  disabledReasons,
  eventTypes,
} from '../../core/events/event'
import { environments } from '../../core/requests/state'
import { appId, appInQuestion } from './admin'
import { prose, requestId, time } from './common'
import { named } from './registry'
import { listWithRules, noneTwice } from './rules'

export const endpointId = z
  .string()
  .regex(/^ep_[a-z2-7]{26}$/, 'is no endpoint id')
  .meta({ examples: ['ep_k3v7x2m4q6t5z7a2b4c6d3e5f7'] })
export const eventId = z
  .string()
  .regex(/^evt_[0-9a-f]{32}$/, 'is no event id')
  .describe('Also the webhook-id of every call made for it.')
  .meta({ examples: ['evt_6f1c0b7e4a1d4c35a0c7d1b2e3f40516'] })
const deliveryId = z.string().regex(/^dlv_[0-9a-f]{32}$/, 'is no delivery id')

const url = z
  .string()
  .max(500)
  .refine((text) => URL.canParse(text), 'is no URL')
  .describe('https, on port 443 or one from 1024 on, at an address of the public internet.')
  .meta({ examples: ['https://shop.example/webhooks/otp-status'] })
const types = listWithRules(
  z.array(z.enum(chosenEventTypes)).min(1).max(chosenEventTypes.length),
  noneTwice('type'),
)
  .nullable()
  .describe('The events that it is told of; null: all of them, also ones that are added later.')
const description = prose(0, 200)
const environment = z
  .enum(environments)
  .describe('It is told of requests that were made by keys of this environment.')

export const EventEndpointBody = named(
  'EventEndpointBody',
  z.strictObject({
    app_id: appInQuestion,
    environment,
    url,
    types: types.optional(),
    description: description.optional(),
  }),
)

export const EventEndpointChanges = named(
  'EventEndpointChanges',
  z
    .strictObject({
      url,
      types,
      description,
      disabled: z
        .boolean()
        .describe('true: nothing is sent any more. false: sent again, also after it was given up.'),
    })
    .partial(),
)

const endpoint = {
  endpoint_id: endpointId,
  app_id: appId,
  environment,
  url: z.string(),
  types,
  description: z.string(),
  disabled: z
    .enum(disabledReasons)
    .nullable()
    .describe('Why nothing is sent: by request, after a 410, or after days of failure.'),
  failing_since: time.nullable().describe('The first failed call since the last good one.'),
  created_at: time,
}

export const EventEndpointAnswer = named('EventEndpoint', z.object(endpoint))
export type EventEndpointAnswer = z.infer<typeof EventEndpointAnswer>

const secret = z.string().describe('Signs the events. In this answer and nowhere else.')

export const MadeEventEndpointAnswer = named('MadeEventEndpoint', z.object({ ...endpoint, secret }))

export const EventEndpointsQuery = z.strictObject({
  app_id: appInQuestion,
  environment: z.enum(environments).optional(),
})

export const EventEndpointsAnswer = named(
  'EventEndpoints',
  z.object({ endpoints: z.array(EventEndpointAnswer).describe('Oldest first.') }),
)

export const DeletedEndpointAnswer = named('DeletedEndpoint', z.object({ deleted: z.boolean() }))

export const RotatedSecretAnswer = named(
  'RotatedSecret',
  z.object({
    secret,
    previous_until: time.describe('Until then the secret before it signs too.'),
  }),
)

export const TestEventAnswer = named(
  'TestEvent',
  z.object({ event_id: eventId, delivery_id: deliveryId }),
)

const EventDelivery = named(
  'EventDelivery',
  z.object({
    delivery_id: deliveryId,
    event_id: eventId,
    type: z.enum(eventTypes),
    request_id: requestId.nullable(),
    state: z.enum(deliveryStates),
    replays: z.int().describe('How often it was sent again by hand.'),
    created_at: time,
    delivered_at: time.nullable(),
    tries: z.array(
      z.object({
        number: z.int(),
        at: time,
        milliseconds: z.int(),
        http_status: z.int().nullable(),
        fault: z.string().nullable().describe('Why there was no answer.'),
      }),
    ),
  }),
)
export type EventDelivery = z.infer<typeof EventDelivery>

export const EventDeliveriesQuery = z.strictObject({
  state: z.enum(deliveryStates).optional(),
  limit: z.coerce.number().int().min(1).max(100).optional().describe('50 when absent.'),
  cursor: deliveryId.optional().describe('`next_cursor` of the page before.'),
})

export const EventDeliveriesAnswer = named(
  'EventDeliveries',
  z.object({
    deliveries: z.array(EventDelivery).describe('Newest first.'),
    next_cursor: z.string().nullable(),
  }),
)

export const ReplayFailedBody = named(
  'ReplayFailedBody',
  z.strictObject({
    since: z.iso
      .datetime({ offset: true, error: 'must be a time as in RFC 3339' })
      .describe('Events from this time on.'),
  }),
)

export const ReplayFailedAnswer = named(
  'ReplayFailed',
  z.object({
    replayed: z.int().describe('How many are sent again.'),
    more: z.boolean().describe('There may be more of them: call again.'),
  }),
)

export const ReplayEventBody = named(
  'ReplayEventBody',
  z.strictObject({ endpoint_id: endpointId.optional().describe('Only to this endpoint.') }),
)

export const ReplayEventAnswer = named(
  'ReplayEvent',
  z.object({
    event_id: eventId,
    deliveries: z.array(z.object({ delivery_id: deliveryId, endpoint_id: endpointId })),
  }),
)
