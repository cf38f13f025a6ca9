import ipaddr from 'ipaddr.js'
import type { SendBody } from '../contract/send'
import { type Client, clientAt } from '../client-address'
import type { ApiDeps } from '../deps'
import type { KeyCall } from '../route'

/**
 * Where the end user of a send is: `ip_address` of a secret key, the caller itself with a publishable one; undefined
 * where a back end does not say.
 */
export function endUserOf({ key, body, client }: KeyCall<SendBody>): Client | undefined {
  if (key.publishable) return client
  return body.ip_address === undefined ? undefined : clientAt(body.ip_address)
}

/**
 * Whether limits by address and the fraud rules leave a send alone: in development, whoever tries the service on their
 * own machine sends as often as they like. Limits of the recipient hold all the same.
 */
export function isAtHome(
  { isProduction }: Pick<ApiDeps, 'isProduction'>,
  call: KeyCall<SendBody>,
): boolean {
  return isOwnMachine({ isProduction }, endUserOf(call) ?? call.client)
}

/** As {@link isAtHome}, for a call that says nothing of an end user. */
export const isOwnMachine = (
  { isProduction }: Pick<ApiDeps, 'isProduction'>,
  { address }: Pick<Client, 'address'>,
): boolean => !isProduction && ipaddr.parse(address).range() === 'loopback'
