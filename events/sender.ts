import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { EventDeliveryInput } from '../core/events/event'
import { takeDue, type TakenDelivery } from '../db/events/taking'
import { markRetrying } from '../db/events/tries'
import { claimSeconds, deliver, type DeliverDeps } from './deliver'

/** How often the outbox is looked at while nothing happens, and at most, in milliseconds. */
const everyMs = 500
const atMostEveryMs = 25
/** Calls of one process at a time. Most of them wait for receivers, which costs nothing. */
const atOnce = 200
/** Calls that are under way when the process is to end get this long, in milliseconds. */
const graceMs = 5_000

export interface SenderDeps extends DeliverDeps {
  /** Starts the run that goes on with a delivery whose first call failed. @throws when Temporal does not take it */
  startRetries: (input: EventDeliveryInput) => Promise<void>
  delaysMs: readonly number[]
  log: Logger
}

/** Makes the first call for every event in the outbox, in every worker process; rows are locked, so they share the work. */
export function startEventSender(deps: SenderDeps): { stop(): Promise<void> } {
  const sender = new EventSender(deps)
  const running = sender.run()
  return {
    stop: async () => {
      sender.leave()
      await running
    },
  }
}

class EventSender {
  private readonly leaving = new AbortController()
  /** Cuts off the calls that are under way. */
  private readonly stopping = new AbortController()
  private readonly calls = new Set<Promise<void>>()
  /** Aborts to end a pause when a call has ended: somebody may be called now who could not be before. */
  private nap = new AbortController()

  constructor(private readonly deps: SenderDeps) {}

  leave(): void {
    this.leaving.abort()
    this.nap.abort()
  }

  async run(): Promise<void> {
    while (!this.leaving.signal.aborted) {
      this.nap = new AbortController()
      const taken = await this.take()
      for (const delivery of taken) this.call(delivery)
      await pause(atMostEveryMs)
      await pause(everyMs, undefined, { signal: this.nap.signal }).catch(() => undefined)
    }
    const cutOff = setTimeout(() => this.stopping.abort(), graceMs)
    await Promise.all(this.calls)
    clearTimeout(cutOff)
  }

  private async take(): Promise<TakenDelivery[]> {
    const limit = atOnce - this.calls.size
    if (limit === 0) return []
    try {
      const { db, region } = this.deps
      return await takeDue(db, { limit, claimSeconds, region })
    } catch (error) {
      this.deps.log.warn({ err: error }, 'the outbox could not be read: it is tried again')
      return []
    }
  }

  private call(delivery: TakenDelivery): void {
    const call = this.handle(delivery)
      .catch((error: unknown) =>
        this.deps.log.warn(
          { deliveryId: delivery.id, err: error },
          'an event was not delivered: it is tried again',
        ),
      )
      .finally(() => {
        this.calls.delete(call)
        this.nap.abort()
      })
    this.calls.add(call)
  }

  private async handle(delivery: TakenDelivery): Promise<void> {
    const { startRetries, delaysMs, db } = this.deps
    const { id, replays } = delivery
    const state = await deliver(this.deps, delivery, {
      last: delaysMs.length === 0,
      stopping: this.stopping.signal,
    })
    if (state !== 'due') return
    await startRetries({ deliveryId: id, replays, delaysMs })
    await markRetrying(db, { id, replays })
  }
}
