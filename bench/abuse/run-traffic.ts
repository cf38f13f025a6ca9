import type { Keyring } from '../../codes/keyring'
import type { Budget } from '../../core/spending/money'
import { type ProtectionPolicy, protectionOf } from '../../core/protection/protection'
import type { Database } from '../../db'
import type { TrafficEvent } from './event'
import { type RaisedBlock, Simulator } from './simulator'
import { type FalseBlock, type ScenarioResult, Tally } from './tally'

export interface TrafficRun {
  results: ScenarioResult[]
  falseBlocks: FalseBlock[]
  refusals: [name: string, count: number][]
  raised: RaisedBlock[]
}

export interface RunOptions {
  /** Of a scenario without an attack. */
  name: string
  keyring: Keyring
  policy: ProtectionPolicy
  /** What an app may spend where the policy does not say; of the prices' currency. */
  budget: Budget
  attackersSolve?: boolean | undefined
  /** Told after each event how many there were. */
  onProgress?: (done: number) => void
}

/** Runs traffic, in the order of time, through the rules, in an empty database; the counts are of its end. */
export async function runTraffic(
  db: Database,
  events: readonly TrafficEvent[],
  { name, keyring, policy, budget, attackersSolve, onProgress }: RunOptions,
): Promise<TrafficRun> {
  const tally = new Tally()
  const simulator = new Simulator({ db, keyring, policy, budget, attackersSolve, watcher: tally })
  let done = 0
  for (const event of events) {
    await simulator.feed(event)
    onProgress?.(++done)
  }
  const last = events.at(-1)
  if (last) await simulator.finish(last.t)
  const raised = await simulator.raisedBlocks()
  return {
    results: tally.results(name, { raised, budgetOf: (app) => dailyBudget(policy, app, budget) }),
    falseBlocks: tally.falseBlocks(),
    refusals: tally.refusals(),
    raised,
  }
}

function dailyBudget(policy: ProtectionPolicy, app: string, usual: Budget): number | null {
  const { day } = protectionOf(policy, { app, country: null }).budget ?? usual
  return day === undefined ? null : Number(day)
}
