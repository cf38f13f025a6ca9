import ipaddr from 'ipaddr.js'
import { addressIndex } from '../codes/address-index'
import { ipv6SiteShare } from '../core/limits'
import { takeAddressCall } from '../db/protection/address-windows'
import type { ApiKey } from '../db/apps/api-keys'
import { type Client, siteOf } from './client-address'
import type { ApiDeps } from './deps'
import { Problem } from './problem'
import type { Route } from './route'

/** Refusals that are remembered: a caller has many addresses, this map must not grow with them. */
const rememberedSize = 10_000

/**
 * Counts a call by a publishable key for the address it comes from.
 * @throws {Problem} RATE_LIMITED with the time until the next one.
 */
export type LimitAddress = (call: {
  key: ApiKey
  route: Pick<Route, 'admission'>
  client: Client
}) => Promise<void>

/** Makes the limit, which is one over all processes. In development, calls from this machine are exempt. */
export function createAddressLimit({
  checksDb,
  keyring,
  isProduction,
}: Pick<ApiDeps, 'checksDb' | 'keyring' | 'isProduction'>): LimitAddress {
  /** Until when an address gets nothing, in milliseconds: refusing it again needs no statement. */
  const refusedUntil = new Map<string, number>()

  return async ({ key: { environment }, route, client }) => {
    if (!isProduction && ipaddr.parse(client.address).range() === 'loopback') return
    // What is neither a send nor a check makes a challenge.
    const { admission } = route
    const kind = admission === 'send' || admission === 'verify' ? admission : 'challenge'
    const take = async (network: string, share: number) => {
      const name = `${environment} ${kind} ${network}`
      const known = refusedUntil.get(name)
      if (known !== undefined && known > Date.now()) throw refusal((known - Date.now()) / 1_000)
      const index = addressIndex(keyring, network)
      const seconds = await takeAddressCall(checksDb, { index, environment, kind, share })
      if (seconds === undefined) return
      if (refusedUntil.size >= rememberedSize) refusedUntil.clear()
      refusedUntil.set(name, Date.now() + seconds * 1_000)
      throw refusal(seconds)
    }
    // The line first: one that is refused must not use up what its neighbours share with it.
    await take(client.network, 1)
    const site = siteOf(client)
    if (site !== undefined) await take(site, ipv6SiteShare)
  }
}

const refusal = (seconds: number) =>
  new Problem('RATE_LIMITED', {
    retryAfterSeconds: Math.ceil(seconds),
    detail: 'Too many calls from this address.',
  })
