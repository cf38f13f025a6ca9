import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Wake } from '../core/requests/wake'
import type { Database } from '../db'
import { recordByMessage } from '../db/delivery/early-receipts'
import { type PolledMessage, takePolls } from '../db/delivery/polling'
import type { ProviderAccount } from '../providers/provider'

const everyMs = 1_000
const batch = 100
const callTimeoutMs = 5_000

export interface ReceiptPollerDeps {
  db: Database
  providers: Pick<ReadonlyMap<string, ProviderAccount>, 'get'>
  /** Where this process stands; apps of another region are left to a process there. */
  region?: string | undefined
  /** Tells a run what was committed; never throws. */
  wake: (wake: Wake) => Promise<void>
  log: Logger
}

/** Asks providers that may not report what became of their messages, in every worker process; rows are taken once. */
export function startReceiptPoller(deps: ReceiptPollerDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const running = pollUntilStopped(deps, stopping.signal)
  return {
    stop: () => {
      stopping.abort()
      return running
    },
  }
}

async function pollUntilStopped(deps: ReceiptPollerDeps, stopping: AbortSignal): Promise<void> {
  while (!stopping.aborted) {
    await pollOnce(deps, stopping).catch((error: unknown) =>
      deps.log.warn({ err: error }, 'providers were not asked for reports: they are asked again'),
    )
    await pause(everyMs, undefined, { signal: stopping }).catch(() => undefined)
  }
}

async function pollOnce(deps: ReceiptPollerDeps, stopping: AbortSignal): Promise<void> {
  const due = await takePolls(deps.db, batch, deps.region)
  const byProvider = [...Map.groupBy(due, ({ provider }) => provider)]
  await Promise.all(byProvider.map(([provider, own]) => ask(deps, { provider, own, stopping })))
}

async function ask(
  { db, providers, wake, log }: ReceiptPollerDeps,
  { provider, own, stopping }: { provider: string; own: PolledMessage[]; stopping: AbortSignal },
): Promise<void> {
  const poller = providers.get(provider)?.poller
  if (!poller) return
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(callTimeoutMs)])
  try {
    const receipts = await poller.pollReceipts(own, signal)
    for (const { providerMessageId: messageId, attemptId: _, ...receipt } of receipts) {
      if (messageId === undefined) continue
      const actor = `provider:${provider}`
      const report = { message: { provider, messageId }, receipt, actor, asked: true }
      const news = (await recordByMessage(db, report)).wake
      if (news) void wake(news)
    }
  } catch (error) {
    // It is asked again in a few seconds, and the step's timer does not wait for it.
    log.info({ provider, messages: own.length, err: error }, 'a provider gave no reports')
  }
}
