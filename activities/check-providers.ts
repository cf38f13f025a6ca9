import type { Fault } from '../core/fault'
import { pings } from '../core/breaker'
import { recordPing } from '../db/attempts/provider-pings'
import { sumProviderHours } from '../db/attempts/provider-hours'
import { type Pinger, type ProviderAccount, ProviderFault } from '../providers/provider'
import type { ActivityDeps } from './deps'

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

async function check(
  { db, log }: ActivityDeps,
  { name: provider, channels, pinger }: ProviderAccount & { pinger: Pinger },
): Promise<Fault | undefined> {
  const since = performance.now()
  const fault = await pinger.ping(AbortSignal.timeout(pings.timeoutMs)).then(
    () => undefined,
    (error: unknown) => (error instanceof ProviderFault ? error.fault : 'unavailable'),
  )
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
