import { blockOf } from '../../core/protection/scopes'
import { codeSpace } from '../../core/verify/alphabet'
import { guessing } from '../../core/limits'
import type { TrafficEvent } from './event'
import type { RaisedBlock, Refusal, SendOutcome, Watcher } from './simulator'

/** The share of attack sends that is refused from then on, for an attack to count as blocked. */
const blockedShare = 0.9

interface AttackSend {
  atMs: number
  refusal: Refusal | undefined
}

/** What was counted of one attack. */
interface AttackTally {
  sends: AttackSend[]
  leaked: number
  leakedByBlock: Map<string, number>
  spend: number
  /** Times of wrong codes. */
  guesses: number[]
  apps: Set<string>
}

/** A user who was refused, and what for. */
export interface FalseBlock {
  atMs: number
  app: string
  /** Where the number is, not which it is. */
  block: string
  reason: string
}

/** One scenario, as it is printed and as the last line has it. */
export interface ScenarioResult {
  name: string
  /** Attack messages that were accepted, in all and of the worst number block. */
  leaked: number
  leaked_worst_block: number
  /** Money of those, and what the attacked apps may spend on such a day; US dollars. */
  spend: number
  budget: number | null
  /** From the first attack send to the first refusal by the rules, or block raised where the attack is; null: none. */
  time_to_block_s: number | null
  /** Distinct users who were refused by anything but their number's own limits, and all. */
  false_blocks: number
  users: number
  false_block_rate: number
  sends_attack: number
  refused_attack: number
  found: boolean
  /** To the refusal from which on more than nine of ten are refused; null: never. */
  held_after_s: number | null
  challenged_users: number
  limited_users: number
  invalid_users: number
  sends_user: number
  guesses: number
  takeovers_expected: number
  guess_alarm_after_s: number | null
}

const round = (value: number, digits: number) => Number(value.toFixed(digits))

/** Counts what comes of the events of a file; all users are users of each of its scenarios. */
export class Tally implements Watcher {
  readonly #attacks = new Map<string, AttackTally>()
  readonly #users = new Set<string>()
  readonly #challenged = new Set<string>()
  readonly #limited = new Set<string>()
  readonly #invalid = new Set<string>()
  readonly #blocked = new Map<string, FalseBlock>()
  readonly #refusedBy = new Map<string, number>()
  #userSends = 0

  sent(event: TrafficEvent, outcome: SendOutcome): void {
    const refusal = outcome.accepted ? undefined : outcome.refusal
    if (refusal) {
      const name = `${event.truth}: ${reasonOf(refusal)}`
      this.#refusedBy.set(name, (this.#refusedBy.get(name) ?? 0) + 1)
    }
    if (event.truth === 'attack') this.#countAttack(event, outcome, refusal)
    else this.#countUser(event, refusal, outcome.challenged)
  }

  guessed(event: TrafficEvent): void {
    if (event.truth === 'attack') this.#attackOf(event).guesses.push(event.t)
  }

  /** Users who were refused by mistake. */
  falseBlocks(): FalseBlock[] {
    return [...this.#blocked.values()]
  }

  /** How often each rule and limit refused whose sends. */
  refusals(): [name: string, count: number][] {
    return [...this.#refusedBy].toSorted(([, one], [, other]) => other - one)
  }

  /** @param whole the name of a file without an attack */
  results(
    whole: string,
    {
      raised,
      budgetOf,
    }: { raised: readonly RaisedBlock[]; budgetOf: (app: string) => number | null },
  ): ScenarioResult[] {
    const attacks = [...this.#attacks]
    if (attacks.length === 0) attacks.push([whole, emptyTally()])
    return attacks.map(([name, attack]) => ({
      ...attackResult(name, attack, raised, budgetOf),
      ...{ false_blocks: this.#blocked.size, users: this.#users.size },
      false_block_rate: round(this.#blocked.size / Math.max(this.#users.size, 1), 5),
      ...{ challenged_users: this.#challenged.size, limited_users: this.#limited.size },
      ...{ invalid_users: this.#invalid.size, sends_user: this.#userSends },
    }))
  }

  #attackOf({ scenario = 'attack', app }: TrafficEvent): AttackTally {
    const known = this.#attacks.get(scenario) ?? emptyTally()
    this.#attacks.set(scenario, known)
    known.apps.add(app)
    return known
  }

  #countAttack(event: TrafficEvent, outcome: SendOutcome, refusal: Refusal | undefined): void {
    const attack = this.#attackOf(event)
    attack.sends.push({ atMs: event.t, refusal })
    if (!outcome.accepted) return
    const block = blockOf(event.phone)
    attack.leaked++
    attack.leakedByBlock.set(block, (attack.leakedByBlock.get(block) ?? 0) + 1)
    attack.spend += outcome.price
  }

  #countUser(event: TrafficEvent, refusal: Refusal | undefined, challenged: boolean): void {
    const user = `${event.app}|${event.phone}`
    this.#userSends++
    this.#users.add(user)
    if (challenged) this.#challenged.add(user)
    if (!refusal) return
    if (refusal.by === 'number') this.#invalid.add(user)
    else if (isOwnLimit(refusal)) this.#limited.add(user)
    else if (!this.#blocked.has(user))
      this.#blocked.set(user, {
        ...{ atMs: event.t, app: event.app, block: blockOf(event.phone) },
        reason: reasonOf(refusal),
      })
  }
}

/** Limits of the number itself, which everybody is told of, are no mistake about a user. */
const isOwnLimit = (refusal: Refusal): boolean =>
  refusal.by === 'limit' && (refusal.limit === 'recipient' || refusal.limit === 'messages')

const emptyTally = (): AttackTally => ({
  ...{ sends: [], leaked: 0, leakedByBlock: new Map(), spend: 0, guesses: [], apps: new Set() },
})

/** In words, shortest first: `rules: block_velocity (block)`. */
const reasonOf = (refusal: Refusal): string => {
  if (refusal.by === 'limit') return `limit of ${refusal.limit}`
  if (refusal.by !== 'rules') return refusal.by
  const rules = refusal.findings.map(({ rule, scope, asks }) => `${rule} (${scope}, ${asks})`)
  return [...new Set(rules)].sort().join(' + ')
}

function attackResult(
  name: string,
  attack: AttackTally,
  raised: readonly RaisedBlock[],
  budgetOf: (app: string) => number | null,
) {
  const { sends, leaked, leakedByBlock, spend, guesses } = attack
  const start = sends[0]?.atMs ?? 0
  const after = (atMs: number | undefined) =>
    atMs === undefined ? null : round(Math.max(atMs - start, 0) / 1000, 1)
  const foundAt = foundAtMs(attack, raised)
  const budgets = [...attack.apps].map(budgetOf)
  return {
    name,
    ...{ leaked, leaked_worst_block: Math.max(0, ...leakedByBlock.values()) },
    spend: round(spend, 4),
    budget: budgets.some((one) => one === null)
      ? null
      : budgets.reduce<number>((sum, one) => sum + (one ?? 0), 0),
    time_to_block_s: after(foundAt),
    ...{ sends_attack: sends.length, refused_attack: sends.length - leaked },
    ...{ found: foundAt !== undefined, held_after_s: after(blockedAtMs(sends)) },
    ...guessResult(guesses),
  }
}

/** The refusal from which on more than nine of ten attack sends are refused. */
function blockedAtMs(sends: readonly AttackSend[]): number | undefined {
  let refused = 0
  let found: number | undefined
  for (let index = sends.length - 1; index >= 0; index--) {
    const send = sends[index]
    if (!send?.refusal) continue
    refused++
    if (refused / (sends.length - index) > blockedShare) found = send.atMs
  }
  return found
}

/** When the rules noticed: the first refusal by them, or the first block that is about the attack's numbers. */
function foundAtMs(
  { sends, leakedByBlock }: AttackTally,
  raised: readonly RaisedBlock[],
): number | undefined {
  const refused = sends.find(({ refusal }) => refusal?.by === 'rules')?.atMs
  const start = sends[0]?.atMs ?? Infinity
  const places = [...leakedByBlock.keys()].map((block) =>
    block.startsWith('+') ? block : `+${block}`,
  )
  const block = raised.find(
    ({ label, scope, atMs }) =>
      atMs >= start &&
      (scope === 'block' || scope === 'range') &&
      places.some((place) => label !== null && place.startsWith(label)),
  )?.atMs
  const times = [refused, block].filter((time) => time !== undefined)
  return times.length > 0 ? Math.min(...times) : undefined
}

/** Takeovers to expect, as the service sums them: wrong codes of a day over the codes there are. */
function guessResult(guesses: readonly number[]) {
  const space = codeSpace('digits', 6)
  const most = guessing.alertAt * space
  const first = guesses[0] ?? 0
  const alarm = guesses.find((atMs, index) => {
    const old = guesses[index + 1 - Math.ceil(most)]
    return old !== undefined && atMs - old <= guessing.windowSeconds * 1000
  })
  return {
    guesses: guesses.length,
    takeovers_expected: round(guesses.length / space, 6),
    guess_alarm_after_s: alarm === undefined ? null : round((alarm - first) / 1000, 1),
  }
}
