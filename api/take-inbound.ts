import { environments, isLive } from '../core/requests/state'
import { isStop } from '../core/recipients/stop-word'
import { stopByReply } from '../db/recipients/consent'
import { inboundDigest } from '../db/recipients/inbound-messages'
import type { InboundMessage, ProviderAccount } from '../providers/provider'
import { type ApiDeps, wakeRuns } from './deps'
import { readNetworkNumber } from './network-number'

type Messages = ReturnType<NonNullable<ProviderAccount['inbound']>['readInbound']>

/**
 * Does what genuine messages of people ask for. Never a refusal: the provider would repeat, or report, what no repetition
 * mends.
 */
export async function takeInbound(
  deps: ApiDeps,
  { name: provider, adapter, test }: Pick<ProviderAccount, 'name' | 'adapter' | 'test'>,
  messages: Messages,
): Promise<void> {
  // Whoever answers to a test account answers to a test.
  const reached = environments.filter((environment) => isLive(environment) !== test)
  const all: readonly InboundMessage[] = messages === undefined ? [] : [messages].flat()
  const stops = all.filter(({ text }) => isStop(text))
  for (const { from, id, at } of stops) {
    const spellings = readNetworkNumber(from)
    if (!spellings) {
      deps.logger.warn({ provider }, 'a STOP came from a number that cannot be read')
      continue
    }
    const digest = inboundDigest(adapter, id)
    const stop = { spellings, provider, environments: reached, at, digest }
    const { wakes } = await stopByReply(deps.db, deps.keyring, stop)
    wakeRuns(deps, wakes)
  }
}
