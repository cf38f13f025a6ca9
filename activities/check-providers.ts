import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../core/delivery/fault'
import { pings } from '../core/delivery/breaker'
import { recordPing } from '../db/delivery/provider-pings'
import { sumProviderHours } from '../db/delivery/provider-hours'
import { type Pinger, type ProviderAccount, ProviderFault } from '../providers/provider'
import type { ActivityDeps } from './deps'

/** After its time-out, for a ping to end by itself. */
const graceMs = 1_000

/** How the accounts did that can be pinged. */
export interface CheckedProviders {
  good: number
  bad: number
}

/**
 * Pings every account that can be pinged, all at once, and brings the record of what each achieved up to date. A ping
 * that cannot be written down costs the others nothing.
 */
export const checkProviders = (deps: ActivityDeps) => async (): Promise<CheckedProviders> => {
  const accounts = [...deps.providers.values()].filter(hasPinger)
  const results = await Promise.all(accounts.map((account) => check(deps, account)))
  await sumProviderHours(deps.db)
  const good = results.filter((fault) => fault === undefined).length
  return { good, bad: results.length - good }
}

const hasPinger = (account: ProviderAccount): account is ProviderAccount & { pinger: Pinger } =>
  account.pinger !== undefined

/** An adapter that does not heed its deadline must not hold up the others, nor the record. */
async function faultOf(pinger: Pinger): Promise<Fault | undefined> {
  const signal = AbortSignal.timeout(pings.timeoutMs)
  const overdue = new AbortController()
  try {
    await Promise.race([
      pinger.ping(signal),
      pause(pings.timeoutMs + graceMs, undefined, { signal: overdue.signal }).then(() => {
        throw new ProviderFault('unavailable', 'No answer to a ping.')
      }),
    ])
    return undefined
  } catch (error) {
    return error instanceof ProviderFault ? error.fault : 'unavailable'
  } finally {
    overdue.abort()
  }
}

async function check(
  { db, log }: ActivityDeps,
  { name: provider, channels, pinger }: ProviderAccount & { pinger: Pinger },
): Promise<Fault | undefined> {
  const since = performance.now()
  const fault = await faultOf(pinger)
  const milliseconds = performance.now() - since
  try {
    const { opened, closed } = await recordPing(db, { provider, channels, fault, milliseconds })
    if (opened.length > 0)
      log.warn({ provider, channels: opened, fault }, 'breakers opened: the health ping fails')
    if (closed.length > 0)
      log.info({ provider, channels: closed }, 'breakers closed: the health ping is good again')
  } catch (error) {
    log.warn({ provider, err: error }, 'a health ping was not written down')
  }
  return fault
}
