import { type EventEndpoint, findEndpoint } from '../../../db/events/endpoints'
import { endpointId } from '../../contract/events'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import type { AdminCall } from '../../route'
import { findAppIn, requireEnvironment } from './reach'

type CallAboutEndpoint = Pick<AdminCall, 'key' | 'params'>

/** @throws {Problem} NOT_FOUND for what is no id, for no endpoint, and for one of another app. */
export async function endpointInPath(
  deps: ApiDeps,
  { key, params }: CallAboutEndpoint,
): Promise<EventEndpoint> {
  const { success, data } = endpointId.safeParse(params.endpoint_id)
  const found = success && (await findEndpoint(deps.db, data))
  if (!found) throw new Problem('NOT_FOUND')
  await findAppIn(deps, key, found.appId)
  return found
}

/** As {@link endpointInPath}, for changes and for what causes calls. */
export async function ownEndpointInPath(
  deps: ApiDeps,
  call: CallAboutEndpoint,
): Promise<EventEndpoint> {
  const found = await endpointInPath(deps, call)
  requireEnvironment(call.key, found, whatOfEndpoints)
  return found
}

/** With an endpoint of its own a test key would be told the numbers of real people. */
export const whatOfEndpoints = 'endpoints of the environment production'
