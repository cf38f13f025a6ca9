import { z } from 'zod'
import type { Route } from '../../api/route'

/** Ids in paths; a route with another placeholder has to say here what it is about. */
const unknownIds: Record<string, string> = {
  request_id: 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  app_id: 'app',
  key_id: 'aaaaaaaaaaaa',
  endpoint_id: 'ep_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  event_id: `evt_${'a'.repeat(32)}`,
  entry_id: 'lst_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  test_number_id: 'tst_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  block_id: `blk_${'a'.repeat(26)}`,
  alert_id: `alr_${'a'.repeat(26)}`,
  rule: 'budget',
  channel: 'sms',
  locale: 'fr',
  provider: 'sandbox-a',
  token: 'aaaaaaaaaaaaaaaaaaaaaaaaaa',
  secret: 'aaaaaaaaaaaaaaaaaaaaaaaaaa',
}

/** A body that is valid: the documentation's, or where it has none that works anywhere, one for here. */
export const endpoint = { environment: 'staging', url: 'http://127.0.0.1:9999/events' }
export const bodies: Record<string, object> = {
  createEventEndpoint: endpoint,
  putPreSendHook: { app_id: 'app', url: 'http://127.0.0.1:9999/hook', on_failure: 'allow' },
  raiseBlock: { environment: 'staging', scope: 'country', country: 'NZ' },
}
export const bodyFor = ({ operationId, example }: Route): object =>
  bodies[operationId] ?? example ?? {}

export const pathOf = (route: Route, ids: Record<string, string>) =>
  route.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const id = ids[name] ?? unknownIds[name]
    if (id === undefined) throw new Error(`Say in unknownIds what a {${name}} looks like.`)
    return id
  })

/** Fields of a query or body that name something, with a value of the right shape that names nothing. */
export const unknownFields = (schema: z.ZodType | undefined): Record<string, string>[] => {
  const properties = schema ? (z.toJSONSchema(schema, { io: 'input' }).properties ?? {}) : {}
  return Object.keys(properties)
    .filter((name) => name.endsWith('_id'))
    .map((name) => ({ [name]: name === 'app_id' ? 'nobody' : (unknownIds[name] ?? 'none') }))
}
