import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { openKeyFile } from '../../codes/key-file'
import type { Finding } from '../../db/audit/findings'
import { verifyAudit } from '../../db/audit/verify'
import { clientOf, freshPhone, type InboxEntry, until } from '../harness/client'
import { createImpatientUser } from '../harness/impatient-user'
import { gatherEvidence, strayMessages, violationsOf } from '../harness/invariants'
import type { StatementMoment } from '../harness/postgres-proxy'
import type { CallMoment } from '../harness/provider-proxy'
import { type Rig, startRig } from '../harness/rig'

const waves = 2
const usersPerWave = 10

let rig: Rig
let client: ReturnType<typeof clientOf>
/** Every id that a caller was told of as sent. */
const accepted = new Set<string>()
const pointOf = new Map<string, string>()

beforeAll(async () => {
  // A call in doubt is repeated within a third of its step: on a busy machine a worker is back only after 10 s or more.
  rig = await startRig({ steps: { sms: { timeoutMs: 120_000 }, whatsapp: { timeoutMs: 6_000 } } })
  client = clientOf(rig)
}, 120_000)
afterAll(() => rig.stop(), 60_000)

/** One place to strike. `strike` prepares the fault and resolves when it has happened. */
interface Point {
  name: string
  strike: (rig: Rig, phones: string[]) => Promise<void>
  /** What each user sends, SMS only unless said otherwise. */
  given?: Record<string, unknown>
  /** How the sandbox treats each phone. */
  scenario?: unknown
  /** The channel of the message to wait for. */
  arrivesBy?: 'sms' | 'voice'
}

type Victim = 'api' | 'worker'

/** Kills a process around one of its own statements. */
const atStatement =
  (victim: Victim, moment: StatementMoment, match: RegExp) =>
  ({ [victim]: process, [`${victim}Database` as const]: database }: Rig) =>
    database.arm({ match, moment, spring: () => process.kill() })

const atCall = (moment: CallMoment) => (its: Rig) =>
  its.provider.arm({ match: /\/messages /, moment, spring: () => its.worker.kill() })

/** Kills something else at that moment; the process that spoke goes on. */
const temporalAtStatement = (moment: StatementMoment, match: RegExp) => (its: Rig) =>
  its.apiDatabase.arm({ match, moment, spring: () => its.temporal.kill(), passOn: true })

const statement = {
  commit: /^Q[^]{4}commit/,
  claim: /\/\* claim_attempt \*\//,
  claimOfVoice: /\/\* claim_attempt \*\/[^]*voice/,
  answer: /answered as \(/,
  started: /\/\* mark_started \*\//,
  check: /\/\* decide_check \*\//,
  receipt: /\/\* record_receipt \*\//,
  settle: /set state = 'in_doubt', fault = 'in_doubt'/,
}

const escalating = { channels: ['whatsapp', 'voice'] }
const silentWhatsapp = { on: { channel: 'whatsapp' }, receipt: 'none' }

/** In the middle of the wait for a receipt that will not come. */
const midWait = (kill: (its: Rig) => void) => async (its: Rig, phones: string[]) => {
  const waits = async (phone: string) => {
    const id = (await client.inbox(phone))[0]?.request_id
    const history = id === undefined ? undefined : await its.runs.getHandle(id).fetchHistory()
    return history?.events?.some((event) => event.timerStartedEventAttributes) ?? false
  }
  await until(async () => (await Promise.all(phones.map(waits))).every(Boolean), {
    what: 'the wait of every run',
  })
  kill(its)
}

const points: Point[] = [
  { name: 'worker, before a claim', strike: atStatement('worker', 'before', statement.claim) },
  { name: 'worker, after a claim', strike: atStatement('worker', 'after', statement.claim) },
  { name: 'worker, before the provider has the call', strike: atCall('before') },
  { name: 'worker, after the provider accepted, before its answer', strike: atCall('taken') },
  { name: 'worker, as the answer comes', strike: atCall('answered') },
  {
    name: 'worker, before the answer is recorded',
    strike: atStatement('worker', 'before', statement.answer),
  },
  {
    name: 'worker, after the answer is recorded',
    strike: atStatement('worker', 'after', statement.answer),
  },
  {
    name: 'worker, while a run waits for a receipt',
    strike: midWait((its) => its.worker.kill()),
    given: escalating,
    scenario: silentWhatsapp,
    arrivesBy: 'voice',
  },
  {
    name: 'worker, after the claim of the next channel',
    strike: atStatement('worker', 'after', statement.claimOfVoice),
    given: escalating,
    scenario: silentWhatsapp,
    arrivesBy: 'voice',
  },
  {
    name: 'worker, while a run concludes',
    strike: atStatement('worker', 'after', statement.settle),
  },
  { name: 'API, before a send commits', strike: atStatement('api', 'before', statement.commit) },
  {
    name: 'API, between commit and workflow start',
    strike: atStatement('api', 'after', statement.commit),
  },
  {
    name: 'API, after the start, before it is noted',
    strike: atStatement('api', 'before', statement.started),
  },
  {
    name: 'API, after the start is noted, before the answer',
    strike: atStatement('api', 'after', statement.started),
  },
  { name: 'API, before a check commits', strike: atStatement('api', 'before', statement.check) },
  {
    name: 'API, after a check, before its signal',
    strike: atStatement('api', 'after', statement.check),
  },
  {
    name: 'API, before a receipt commits',
    strike: atStatement('api', 'before', statement.receipt),
  },
  {
    name: 'API, after a receipt, before its signal',
    strike: atStatement('api', 'after', statement.receipt),
  },
  {
    name: 'Temporal, while runs wait for receipts',
    strike: midWait((its) => its.temporal.kill()),
    given: escalating,
    scenario: silentWhatsapp,
    arrivesBy: 'voice',
  },
  {
    name: 'Temporal, while a provider is called',
    strike: (its) =>
      its.provider.arm({
        match: /\/messages /,
        moment: 'before',
        spring: () => its.temporal.kill(),
        passOn: true,
      }),
    scenario: { latency_ms: 300 },
  },
  {
    name: 'Temporal, as a run is started',
    strike: temporalAtStatement('after', statement.commit),
  },
  {
    name: 'Temporal, before a start is noted',
    strike: temporalAtStatement('before', statement.started),
  },
]

const everything = async (): Promise<InboxEntry[]> =>
  (await (await fetch(`${rig.sandboxUrl}/inbox?limit=10000`)).json()) as InboxEntry[]

/** Sends, reads the code from the phone and, every other one, has it checked. */
async function play(point: Point, phone: string, verifies: boolean): Promise<void> {
  const { name, given = { channels: ['sms'] }, arrivesBy = 'sms' } = point
  const user = createImpatientUser(rig, phone)
  const id = await user.send(given)
  accepted.add(id)
  pointOf.set(id, name)
  const { code } = await user.message(arrivesBy)
  if (!verifies) return
  // A check whose answer got lost was made all the same.
  const outcome = await user.verify(code)
  if (!['verified', 'ALREADY_USED'].includes(outcome)) throw new Error(`a check said ${outcome}`)
}

async function wave(point: Point): Promise<void> {
  const phones = Array.from({ length: usersPerWave }, freshPhone)
  const { scenario } = point
  if (scenario) await Promise.all(phones.map((phone) => client.script(phone, scenario)))
  const struck = point.strike(rig, phones)
  const users = Promise.all(phones.map((phone, index) => play(point, phone, index % 2 === 0)))
  // A run concludes some time after its user is content.
  const timer = new AbortController()
  const missed = users
    .then(() => pause(30_000, undefined, { signal: timer.signal }))
    .then(() => Promise.reject(new Error('The point was not reached.')))
  missed.catch(() => undefined)
  await Promise.race([struck, missed])
  timer.abort()
  await Promise.all([rig.api.ready(), rig.worker.ready(), rig.temporal.ready()])
  await users
}

/** Lets what nobody verified expire now, a lifetime early. */
const expireAll = () =>
  rig.db.many(sql`update otp_requests set expires_at = now() where state = 'pending'`)

describe('kill -9: everybody gets a code that works', () => {
  test.each(points)(
    '$name',
    async (point) => {
      for (let count = 0; count < waves; count++) await wave(point)
    },
    300_000,
  )
})

test('every request ended once and legally, with one code and at most one message too many per fault', async () => {
  await expireAll()
  const atRest = async () => {
    const open = await rig.db.one(sql`select from otp_requests where state = 'pending'`)
    return open === undefined && (await runs()).every(({ closed }) => closed)
  }
  // What never comes to rest is told by request below.
  await until(atRest, { within: 60_000 }).catch(() => undefined)
  const messages = await everything()
  const evidence = await gatherEvidence(rig.db, { messages, runs: await runs() })
  const found = evidence.flatMap((request) =>
    violationsOf(request, { faults: rig.faults, accepted }).map(
      (sentence) => `${pointOf.get(request.requestId) ?? 'unanswered'}: ${sentence}`,
    ),
  )
  expect(found).toEqual([])
  expect(strayMessages(evidence, messages)).toEqual([])
  expect(rig.crashes).toEqual([])
}, 120_000)

test('what each call cost is counted once, and nothing is held back for calls that nobody makes any more', async () => {
  const money = await rig.db.one<{ spent: string; reserved: number; counted: string }>(sql`
    select sum(sum_of(spent))::text as spent, sum(sum_of(reserved))::float8 as reserved,
      (select sum(counted_amount) from attempts)::text as counted from spending`)
  expect(money).toMatchObject({ spent: money?.counted, reserved: 0 })
  expect(Number(money?.spent)).toBeGreaterThan(0)
})

test('the audit has no gap, no row without its seal and no root that does not hold', async () => {
  const waits = () => rig.db.one(sql`select from audit_unsealed`)
  await until(async () => (await waits()) === undefined, { within: 60_000 })
  const keyring = openKeyFile(rig.keysFile, { strict: true })
  const findings: Finding[] = []
  const { rows, roots } = await verifyAudit(rig.db, keyring, {
    folder: rig.auditDir,
    retainedDays: 365,
    report: (finding) => findings.push(finding),
  })
  keyring.close()
  expect(findings).toEqual([])
  expect(rows).toBeGreaterThan(0)
  expect(roots).toBeGreaterThan(0)
}, 90_000)

async function runs(): Promise<{ requestId: string; closed: boolean }[]> {
  const listed = []
  for await (const { workflowId, status } of rig.runs.list())
    listed.push({ requestId: workflowId, closed: status.name !== 'RUNNING' })
  return listed
}
