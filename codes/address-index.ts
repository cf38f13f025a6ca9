import { createHmac } from 'node:crypto'
import type { Key, Keyring } from './keyring'

/** Index of a caller's network, for limiter rows that live as long as their window. */
export function addressIndex(keyring: Keyring, network: string): { now: Buffer; before: Buffer[] } {
  const under = ({ key }: Key) => createHmac('sha256', key).update(`address/v1|${network}`).digest()
  const active = keyring.active('global_index')
  const others = keyring.all('global_index').filter(({ kid }) => kid !== active.kid)
  return { now: under(active), before: others.map(under) }
}
