import { randomInt } from 'node:crypto'
import type { Channel } from '../core/channel'
import { reservedNumbers } from './numbers'
import { answerOf, receiptsOf, type Rule, type Verdict } from './scenario'

/** The part of a send that scenarios look at. */
export interface Send {
  provider: string
  channel: Channel
  to: string
  requestId?: string
}

/** Forgetting the oldest requests keeps a long benchmark from filling the memory. */
const maxCountedRequests = 10_000

const reserved = new Map(reservedNumbers.map(({ number, rules }) => [number, rules]))

/** Decides what happens to each send, by the script of its provider and that of its number. */
export class Scenarios {
  private readonly scripts = new Map<string, Rule[]>()
  private used = new WeakMap<Rule, Map<string, number>>()

  put(key: string, rules: Rule[]) {
    this.scripts.set(key, rules)
  }

  list() {
    return [...this.scripts].map(([key, rules]) => ({ key, rules }))
  }

  remove(key: string): boolean {
    return this.scripts.delete(key)
  }

  /** Forgets every script and every count. */
  clear() {
    this.scripts.clear()
    this.used = new WeakMap()
  }

  /** Where both scripts speak, the provider's wins: a provider that is down never looks at the number. */
  decide(send: Send): Verdict {
    const byProvider = ruleFor(this.scripts.get(send.provider), send)
    const byNumber = ruleFor(this.scripts.get(send.to) ?? reserved.get(send.to), send)
    return {
      latencyMs: byProvider?.latency_ms ?? byNumber?.latency_ms ?? 0,
      // A provider's `times` counts all its sends, a number's those of each request.
      answer: this.answerFrom(byProvider, '') ??
        this.answerFrom(byNumber, send.requestId ?? send.to) ?? { kind: 'accept' },
      receipts: receiptsOf(saysReceipts(byProvider) ? byProvider : byNumber, send.channel),
      receiptsFirst: byProvider?.receipts_first ?? byNumber?.receipts_first ?? false,
      receiptsToAccount: (byProvider?.receipts_to ?? byNumber?.receipts_to) === 'account',
    }
  }

  /** What a provider's health check says: as its sends, where these fail on every channel and for good. */
  healthOf(provider: string): Verdict['answer'] {
    const rule = this.scripts.get(provider)?.find(({ on }) => !on)
    const isDown = rule?.accept && rule.error_rate === undefined && rule.accept.times === undefined
    return isDown ? answerOf(rule.accept) : { kind: 'accept' }
  }

  private answerFrom(rule: Rule | undefined, countedBy: string): Verdict['answer'] | undefined {
    if (!rule || (!rule.accept && rule.error_rate === undefined)) return undefined
    if (rule.error_rate !== undefined && randomInt(1e6) >= rule.error_rate * 1e6) return undefined
    const times = rule.accept?.times
    if (times !== undefined && !this.spend(rule, countedBy, times)) return undefined
    return answerOf(rule.accept)
  }

  private spend(rule: Rule, countedBy: string, times: number): boolean {
    const counts = this.used.get(rule) ?? new Map<string, number>()
    this.used.set(rule, counts)
    const count = counts.get(countedBy) ?? 0
    if (count >= times) return false
    counts.set(countedBy, count + 1)
    const oldest = counts.size > maxCountedRequests ? counts.keys().next().value : undefined
    if (oldest !== undefined) counts.delete(oldest)
    return true
  }
}

/** The first rule that matches applies, and no other. */
const ruleFor = (rules: Rule[] | undefined, { channel, provider }: Send) =>
  rules?.find(({ on }) => {
    return (on?.channel ?? channel) === channel && (on?.provider ?? provider) === provider
  })

const saysReceipts = (rule: Rule | undefined): boolean =>
  (rule?.receipts ?? rule?.receipt ?? rule?.receipt_after_ms) !== undefined
