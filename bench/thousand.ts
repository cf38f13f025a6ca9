import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { createDatabase, type Database } from '../db'
import type { InboxEntry } from '../test/harness/client'
import {
  type Evidence,
  gatherEvidence,
  strayMessages,
  violationsOf,
} from '../test/harness/invariants'
import { count, latency, table } from './figures'
import { type Caller, createCaller } from './flow'
import { forEachOf } from './load'
import { machineFacts } from './machine'
import { startSystem, type System } from './system'

// A thousand requests at once: every one accepted, every one ended, none sent twice.

const callers = 50
/** How the users behave, and how many of each there are. */
const users = { verifies: 800, mistypes: 50, cancels: 50, forgets: 50, hasWrongNumber: 50 }
type Kind = keyof typeof users

/**
 * For those who never type their code, so that the run ends soon; long enough that a queue of some seconds leaves
 * the 20 s that a step needs.
 */
const short = { expiry_seconds: 60 }
const endPatienceMs = 120_000

interface Tally {
  accepted: Set<string>
  sendMs: number[]
  verifyMs: number[]
}

/** What one user does from the send to the last thing they do. */
async function play(system: System, caller: Caller, kind: Kind, tally: Tally): Promise<void> {
  const phone_number = caller.freshPhone()
  if (kind === 'hasWrongNumber') await refuseNumber(system, phone_number)
  const given = kind === 'forgets' ? short : {}
  const sentAt = performance.now()
  const { request_id } = await caller.insist('/otp/send', { phone_number, ...given }, 'sent')
  tally.sendMs.push(performance.now() - sentAt)
  const requestId = String(request_id)
  tally.accepted.add(requestId)
  if (kind === 'hasWrongNumber') return
  const { code } = await caller.delivered(requestId)
  const verify = (typed: string, status: string) =>
    caller.insist('/otp/verify', { phone_number, code: typed }, status)
  if (kind === 'verifies') {
    const typedAt = performance.now()
    await verify(code, 'verified')
    tally.verifyMs.push(performance.now() - typedAt)
  }
  if (kind === 'mistypes') {
    const wrong = code === '000000' ? '000001' : '000000'
    for (let tries = 0; tries < 5; tries++) await verify(wrong, 'rejected')
  }
  if (kind === 'cancels') await caller.post(`/otp/${requestId}/cancel`)
}

async function refuseNumber({ sandboxUrl }: System, phone: string): Promise<void> {
  const answer = await fetch(`${sandboxUrl}/scenarios/${encodeURIComponent(phone)}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ accept: { error_code: 'INVALID_NUMBER' } }),
  })
  if (!answer.ok) throw new Error(`The scenario was refused: ${await answer.text()}`)
}

const readRuns = async ({ temporal }: System) => {
  const runs = []
  for await (const { workflowId, status } of temporal.workflow.list())
    runs.push({ requestId: workflowId, closed: status.name !== 'RUNNING' })
  return runs
}

/** Waits for the last lifetime and the last run. */
async function waitForTheEnd(system: System, db: Database): Promise<void> {
  const deadline = Date.now() + endPatienceMs
  while (Date.now() < deadline) {
    const open = await db.one(sql`select from otp_requests where state = 'pending' limit 1`)
    if (!open && (await readRuns(system)).every(({ closed }) => closed)) return
    await sleep(1_000)
  }
}

function report(evidence: Evidence[], tally: Tally, stray: number): string {
  const outcomes = count(evidence, ({ state, attempts, messages }) =>
    [state, attempts.length, messages.length].join(' | '),
  )
  const circumstances = { faults: [], accepted: tally.accepted }
  const violations = evidence.flatMap((request) => violationsOf(request, circumstances))
  const twice = evidence.filter(({ messages }) => messages.length > 1).length
  const pending = evidence.filter(({ state }) => state === 'pending').length
  return [
    table(
      ['state', 'provider calls', 'messages', 'requests'],
      outcomes.map(([name, size]) => [...name.split(' | '), size]),
    ),
    '',
    `accepted ${tally.accepted.size}, ended ${evidence.length - pending}, sent twice ${twice}, messages of no request ${stray}`,
    `faults found in audit, attempts, codes and runs: ${violations.length}`,
    ...violations.slice(0, 20),
    '',
    `send ${latency(tally.sendMs)}; verify ${latency(tally.verifyMs)}`,
  ].join('\n')
}

async function main(): Promise<void> {
  console.log(`${machineFacts()}\n`)
  const system = await startSystem()
  const caller = createCaller(system)
  const db = createDatabase(system.databaseUrl, { max: 2, applicationName: 'otpilot bench' })
  const tally: Tally = { accepted: new Set(), sendMs: [], verifyMs: [] }
  try {
    // Every kind is spread over the whole run.
    const kinds = Object.entries(users)
      .flatMap(([kind, size]) => Array.from({ length: size }, (_, at) => ({ kind, at: at / size })))
      .sort((one, other) => one.at - other.at)
      .map(({ kind }) => kind as Kind)
    const startedAt = performance.now()
    await forEachOf(kinds, callers, (kind) => play(system, caller, kind, tally))
    const seconds = (performance.now() - startedAt) / 1000
    await waitForTheEnd(system, db)
    const inbox = await fetch(`${system.sandboxUrl}/inbox?limit=10000`)
    const messages = (await inbox.json()) as InboxEntry[]
    const evidence = await gatherEvidence(db, { messages, runs: await readRuns(system) })
    console.log(report(evidence, tally, strayMessages(evidence, messages).length))
    console.log(
      `${kinds.length} users in ${seconds.toFixed(1)} s at concurrency ${callers}; refused for overload or outage, and sent again: ${caller.refusals.length}`,
    )
  } finally {
    await db.close()
    await caller.close()
    await system.stop()
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
