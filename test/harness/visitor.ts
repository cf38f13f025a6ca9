import type { Challenge } from 'altcha-lib'
import { createApiKey } from '../../db/apps/api-keys'
import { solvedText } from './challenge'
import { type Answer, clientOf } from './client'
import type { System } from './system'

/** A publishable key for the tests' environment. */
export const publishableKeyOf = async (system: System, appId = 'app'): Promise<string> =>
  (
    await createApiKey(system.db, {
      appId,
      environment: 'staging',
      scopes: ['send', 'verify'],
      publishable: true,
    })
  ).key

/**
 * Pages or apps in somebody's hands: the calls of each come from an address of its own, where the system believes a
 * proxy.
 */
export function visitorsOf(system: System, publishableKey: string) {
  let last = 0
  const freshAddress = () => `198.51.${Math.floor(++last / 250)}.${(last % 250) + 1}`
  return ({ address = freshAddress(), key = publishableKey, url = system.url } = {}) => {
    const client = clientOf({ ...system, url }, key)
    const call = (method: string, path: string, body?: unknown, headers = {}) =>
      client.call(method, path, body, { 'x-forwarded-for': address, ...headers })
    const solve = async () =>
      solvedText((await call('GET', '/otp/challenge')).body as unknown as Challenge)
    return {
      address,
      call,
      solve,
      send: async (phone: string, given: Record<string, unknown> = {}, headers = {}) => {
        const challenge = given.challenge ?? (await solve())
        return call('POST', '/otp/send', { phone_number: phone, challenge, ...given }, headers)
      },
      verify: (given: Record<string, unknown>) => call('POST', '/otp/verify', given),
    }
  }
}

/** An answer in two words. */
export const shown = ({ status, body }: Answer) =>
  `${status} ${String(body.error_code ?? body.status)}`
