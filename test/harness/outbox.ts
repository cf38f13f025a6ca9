import { sql } from 'drizzle-orm'
import { makeSecret } from '../../codes/standard-webhook'
import type { ChosenEventType } from '../../core/events/event'
import type { Environment } from '../../core/requests/state'
import { recordAnswer } from '../../db/delivery/attempts'
import { addEndpoint } from '../../db/events/endpoints'
import type { requestsOnly } from './requests'

/** Endpoints of the tests' app, and requests with something to tell: statements only, nobody sends. */
export const outboxOf = (requests: Awaited<ReturnType<typeof requestsOnly>>) => {
  const accept = (requestId: string, attemptId: string) =>
    recordAnswer(
      requests.db,
      { requestId, attemptId, runId: 'run' },
      { state: 'accepted', providerMessageId: null },
    )
  return {
    register: async (
      given: { appId?: string; types?: ChosenEventType[] | null; environment?: Environment } = {},
    ) => {
      const endpoint = await addEndpoint(requests.db, requests.keyring, {
        appId: given.appId ?? 'app',
        environment: given.environment ?? 'staging',
        url: 'http://127.0.0.1:9/',
        description: '',
        types: given.types ?? null,
        secret: makeSecret(),
        actor: 'test',
      })
      if (!endpoint) throw new Error('not registered')
      return endpoint
    },
    accept,
    /** A request whose first message a provider has accepted. */
    accepted: async (
      given: Parameters<typeof requests.claim>[1] = {},
      send: Parameters<typeof requests.open>[0] = {},
    ) => {
      const { requestId } = await requests.open(send)
      const claim = await requests.claim(requestId, given)
      if (!claim) throw new Error('not claimed')
      await accept(requestId, claim.attemptId)
      return { requestId, ...claim }
    },
    clear: async () => {
      await requests.db.many(sql`delete from events`)
      await requests.db.many(sql`update event_endpoints set deleted_at = now()`)
    },
  }
}
