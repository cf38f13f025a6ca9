import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadPolicy } from '../../config/policy'
import type { ProtectionPolicy } from '../../core/protection/protection'
import { table } from '../figures'
import { BadLines, readEventFile, type TrafficEvent } from './event'
import { type Ground, openGround } from './ground'
import { runTraffic, type TrafficRun } from './run-traffic'
import { scenarios, trafficOf } from './scenarios'
import type { ScenarioResult } from './tally'

// How much pumped traffic do the fraud rules let through, and whom do they keep out by mistake? README.md beside this.

const usage = `npm run abuse -- --seed N [--scenario NAME]   traffic of our own making, the same for the same seed
npm run abuse -- --events FILE                traffic of a file, one event a line
  --verbose        what refused what, every false block, every block raised
  --policy FILE    a policy file instead of the shipped one
  --solving        attackers solve challenges as users do
  --write FOLDER   writes the traffic into files of events, and runs nothing
  --list           the names of the scenarios`

/** Two scenarios at once keep both this program and Postgres busy. */
const atOnce = 2
const progressMs = 5_000

/** US dollars, where a policy has no budget. */
const budget = { hour: '200', day: '1000' }

const options = {
  seed: { type: 'string' },
  scenario: { type: 'string', multiple: true },
  events: { type: 'string' },
  policy: { type: 'string' },
  write: { type: 'string' },
  solving: { type: 'boolean' },
  verbose: { type: 'boolean' },
  list: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

interface Job {
  name: string
  events: () => TrafficEvent[]
}

class Refused extends Error {}

async function main(): Promise<void> {
  const { values } = parseArgs({ options })
  if (values.help) return console.log(usage)
  if (values.list) return console.log(scenarios.map(({ name }) => name).join('\n'))
  const jobs = values.events === undefined ? scenarioJobs(values) : [await fileJob(values.events)]
  if (values.write !== undefined) return writeAll(values.write, jobs)
  const ground = await openGround(process.env.DATABASE_URL)
  try {
    const results = await runAll(ground, jobs, {
      policy: policyFrom(values.policy),
      isVerbose: values.verbose ?? false,
      attackersSolve: values.solving ?? false,
    })
    console.log(summary(results))
    console.log(JSON.stringify({ scenarios: results }))
  } finally {
    await ground.stop()
  }
}

/** One file for each scenario. */
function writeAll(folder: string, jobs: readonly Job[]): void {
  mkdirSync(folder, { recursive: true })
  for (const { name, events } of jobs) {
    const file = join(folder, `${name.replaceAll(/[^a-z0-9]+/gi, '-')}.jsonl`)
    writeFileSync(
      file,
      events()
        .map((event) => `${JSON.stringify(event)}\n`)
        .join(''),
    )
    console.log(file)
  }
}

function policyFrom(path: string | undefined): ProtectionPolicy {
  const reading = loadPolicy(path)
  if (!reading.success) throw new Refused(reading.faults.join('\n'))
  const { protection, countryGroups } = reading.policy
  // Which countries an app sends to is not what is asked here.
  return { countryGroups, protection: { ...protection, countries: undefined } }
}

function scenarioJobs(values: { seed?: string; scenario?: string[] }): Job[] {
  const seed = Number(values.seed ?? '1')
  if (!Number.isSafeInteger(seed)) throw new Refused(`--seed must be a whole number.\n\n${usage}`)
  const wanted = values.scenario
  const chosen = wanted
    ? scenarios.filter(({ name }) => wanted.some((part) => name.includes(part)))
    : scenarios.filter(({ isLong }) => !isLong)
  if (chosen.length === 0)
    throw new Refused(`No scenario has "${wanted?.join('" or "')}" in its name; --list shows all.`)
  return chosen.map((scenario) => ({
    name: scenario.name,
    events: () => trafficOf(scenario, seed),
  }))
}

async function fileJob(path: string): Promise<Job> {
  try {
    const events = await readEventFile(path)
    return { name: 'users only', events: () => events }
  } catch (error) {
    if (error instanceof BadLines) throw new Refused(`${path} was not run.\n${error.message}`)
    throw new Refused(`${path} cannot be read: ${String(error)}`)
  }
}

interface RunAll {
  policy: ProtectionPolicy
  isVerbose: boolean
  attackersSolve: boolean
}

/** Runs the jobs, a few at once, and prints each in its turn. */
async function runAll(
  ground: Ground,
  jobs: readonly Job[],
  how: RunAll,
): Promise<ScenarioResult[]> {
  const results: ScenarioResult[][] = []
  let next = 0
  const runner = async () => {
    for (let index = next++; index < jobs.length; index = next++) {
      const job = jobs[index]
      if (job) results[index] = await runJob(ground, job, how)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, runner))
  return results.flat()
}

async function runJob(ground: Ground, job: Job, { policy, isVerbose, attackersSolve }: RunAll) {
  const events = job.events()
  const { keyring } = ground
  const startedAt = performance.now()
  let said = startedAt
  const rate = (done: number) =>
    `${Math.round((done / (performance.now() - startedAt)) * 1000)} events/s`
  const onProgress = (done: number) => {
    if (performance.now() - said < progressMs) return
    said = performance.now()
    console.error(`[abuse] ${job.name}: ${done} of ${events.length}, ${rate(done)}`)
  }
  const run = await ground.withDatabase((db) =>
    runTraffic(db, events, { name: job.name, keyring, policy, budget, attackersSolve, onProgress }),
  )
  console.log(`\n## ${job.name}\n\n${events.length} events, ${rate(events.length)}\n`)
  for (const result of run.results) console.log(about(result))
  if (isVerbose) console.log(details(run))
  return run.results
}

const duration = (seconds: number | null): string => {
  if (seconds === null) return 'never'
  if (seconds < 120) return `${seconds} s`
  return seconds < 7_200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3_600).toFixed(1)} h`
}

const about = (one: ScenarioResult): string => {
  const attack =
    one.sends_attack === 0
      ? 'no attack'
      : `${one.leaked} of ${one.sends_attack} attack messages leaked, ${one.leaked_worst_block} in the worst block, ${one.spend.toFixed(2)} USD; blocked after ${duration(one.time_to_block_s)}, held from ${duration(one.held_after_s)} on`
  const guesses =
    one.guesses === 0
      ? ''
      : `\n  ${one.guesses} codes guessed at, ${one.takeovers_expected} takeovers to expect, alarm after ${duration(one.guess_alarm_after_s)}`
  return `${one.name}: ${attack}${guesses}
  ${one.false_blocks} of ${one.users} users refused by mistake (${(one.false_block_rate * 100).toFixed(2)} %), ${one.challenged_users} challenged, ${one.limited_users} over their own limits, ${one.invalid_users} without a number to send to`
}

const time = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19)

const details = ({ refusals, falseBlocks, raised }: TrafficRun): string =>
  [
    table(['refused', 'sends'], refusals),
    table(
      ['user refused at', 'app', 'block', 'by'],
      falseBlocks.map(({ atMs, app, block, reason }) => [time(atMs), app, block, reason]),
    ),
    table(
      ['block raised last at', 'scope', 'of', 'rule', 'asks'],
      raised.map(({ atMs, scope, label, rule, asks }) => [
        time(atMs),
        scope,
        label ?? '',
        rule,
        asks,
      ]),
    ),
  ].join('\n\n')

const summary = (results: readonly ScenarioResult[]): string =>
  `\n${table(
    [
      'scenario',
      'attack sends',
      'leaked',
      'worst block',
      'USD',
      'blocked',
      'held',
      'false blocks',
      'challenged',
      'users',
    ],
    results.map((one) => [
      ...[one.name, one.sends_attack, one.leaked, one.leaked_worst_block, one.spend.toFixed(2)],
      ...[duration(one.time_to_block_s), duration(one.held_after_s)],
      `${one.false_blocks} (${(one.false_block_rate * 100).toFixed(2)} %)`,
      ...[one.challenged_users, one.users],
    ]),
  )}\n`

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Refused ? error.message : error)
    process.exit(1)
  },
)
