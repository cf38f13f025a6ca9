import type { LookupFunction } from 'node:net'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import { AddressRefused, guardLookup, isReachable, literalOf, type Reach } from './address'

const connectTimeoutMs = 5_000
/** A backstop only: the caller's signal ends a call before. */
const silenceTimeoutMs = 30_000

/**
 * Connections to addresses that others chose: pooled, never redirected, past every proxy, and only to where `reach`
 * allows. The check is the socket's own.
 */
export function createGuardedDispatcher(
  reach: Reach,
  { lookup, connectMs = connectTimeoutMs }: { lookup?: LookupFunction; connectMs?: number } = {},
): Dispatcher {
  const connect = buildConnector({
    timeout: connectMs,
    lookup: guardLookup(reach, lookup),
  })
  return new Agent({
    // Of connections there are as many as calls: one path of a host that hangs must not block another.
    headersTimeout: silenceTimeoutMs,
    bodyTimeout: silenceTimeoutMs,
    connect: (options, callback) => {
      // A host that is an address is looked up by nobody.
      const literal = literalOf(options.hostname)
      if (literal !== undefined && !isReachable(literal, reach))
        return callback(new AddressRefused('This address is not allowed.'), null)
      return connect(options, callback)
    },
  })
}
