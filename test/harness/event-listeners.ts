import type { z } from 'zod'
import type {
  EventDeliveriesAnswer,
  EventEndpointAnswer,
  MadeEventEndpointAnswer,
} from '../../api/contract/events'
import { clientOf, until } from './client'
import { type Answer, type ReceivedEvent, type Receiver, startReceiver } from './receiver'
import type { System } from './system'

const path = '/admin/event-endpoints'

/** Receivers of a test, and the operator's calls about them. */
export function eventListenersOf(system: System) {
  const operator = clientOf(system, system.operatorKey)
  const receivers: Receiver[] = []

  return {
    operator,
    receiverOf: async (answer?: (event: ReceivedEvent) => Answer) => {
      const receiver = await startReceiver(answer)
      receivers.push(receiver)
      return receiver
    },
    /** Registers an address for the requests of the tests' key. */
    register: async (url: string, given: Record<string, unknown> = {}) => {
      const { status, body } = await operator.call<z.infer<typeof MadeEventEndpointAnswer>>(
        'POST',
        path,
        { app_id: 'app', environment: 'staging', url, ...given },
      )
      if (status !== 200) throw new Error(JSON.stringify(body))
      return body
    },
    endpointOf: async (id: string) =>
      (await operator.call<EventEndpointAnswer>('GET', `${path}/${id}`)).body,
    deliveriesOf: async (id: string, query = '') =>
      (
        await operator.call<z.infer<typeof EventDeliveriesAnswer>>(
          'GET',
          `${path}/${id}/deliveries${query}`,
        )
      ).body.deliveries,
    told: (receiver: Receiver, requestId: string, type: string) =>
      until(async () => receiver.of(requestId, type)[0], { what: `the event ${type}` }),
    /** Leaves nobody registered and nobody listening. */
    clear: async () => {
      for (const app of ['app', 'other']) {
        const { endpoints } = (
          await operator.call<{ endpoints: EventEndpointAnswer[] }>('GET', `${path}?app_id=${app}`)
        ).body
        for (const { endpoint_id } of endpoints)
          await operator.call('DELETE', `${path}/${endpoint_id}`)
      }
      for (const receiver of receivers.splice(0)) await receiver.close()
    },
  }
}
export type EventListeners = ReturnType<typeof eventListenersOf>
