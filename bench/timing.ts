import { parseArgs } from 'node:util'
import { type SQL, sql } from 'drizzle-orm'
import { Agent, request } from 'undici'
import { deriveCode, macOfCode, makeSalt } from '../codes/code'
import { openKeyFile } from '../codes/key-file'
import type { Keyring } from '../codes/keyring'
import { randomId } from '../codes/random-id'
import { appIndex } from '../codes/seal'
import { createDatabase, type Database } from '../db'
import { quantile, table } from './figures'
import { machineFacts } from './machine'
import { startSystem, type System } from './system'

// Does the time of a check tell whether the code was right, or whether there is one at all? On loopback,
// every kind of check in random order, each on a request of its own that was checked wrongly once before; Welch's t.

const kinds = ['right', 'wrong', 'unknown', 'expired', 'used', 'locked'] as const
type Kind = (typeof kinds)[number]
const pairs: readonly [Kind, Kind][] = [
  ['right', 'wrong'],
  ['unknown', 'wrong'],
  ['expired', 'wrong'],
  ['used', 'wrong'],
  ['locked', 'wrong'],
]
/** Beyond this the two are told apart (security reference, A13). */
const threshold = 4.5
/** All samples, and those below these quantiles of both kinds together: the tail is the machine's, not ours. */
const crops = [1, 0.99, 0.95, 0.9] as const

const appId = 'demo'
const rowsAtOnce = 500

interface Probe {
  kind: Kind
  body: Record<string, string>
}

/** A request as it is stored, bytes in hexadecimal, and the code to type. */
interface Stored {
  id: string
  recipient: string
  salt: string
  mac: string
  kid: string
  index: string
  index_kid: string
  phone: string
  typed: string
}

function makeRequest(keyring: Keyring, kind: Kind, number: number): Stored {
  const { kid } = keyring.active('codes')
  const seed = {
    ...{ requestId: randomId('otp'), generation: 1, kid, salt: makeSalt() },
    ...{ length: 6, alphabet: 'digits' as const },
  }
  const code = deriveCode(keyring, seed)
  const phone = `+23324${String(1_000_000 + number)}`
  const index = appIndex(keyring, { appId, kind: 'phone', value: phone })
  return {
    id: seed.requestId,
    recipient: randomId('rcp'),
    salt: seed.salt.toString('hex'),
    mac: macOfCode(keyring, seed, code).toString('hex'),
    kid,
    index: index.index.toString('hex'),
    index_kid: index.kid,
    phone,
    typed:
      kind === 'right' || kind === 'used'
        ? code
        : code.replace(/^./, (digit) => String((Number(digit) + 1) % 10)),
  }
}

/** Written at once for many: sends are not what is measured. */
async function store(db: Database, made: readonly Stored[]): Promise<void> {
  const rows = sql`jsonb_to_recordset(${JSON.stringify(made)}::jsonb) as m(id text, recipient text, salt text,
    mac text, kid text, index text, index_kid text)`
  await db.many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    select recipient, ${appId}, 'phone', decode(index, 'hex'), index_kid, '', kid from ${rows}`)
  await db.many(sql`insert into otp_requests (id, app_id, recipient_id, purpose, environment, locale, brand, plan,
      code_salt, code_mac, code_kid, code_length, checks, max_checks, audit_seq, workflow_started_at, expires_at)
    select id, ${appId}, recipient, 'default', 'staging', 'en', 'Demo', '[{"channel":"sms"}]', decode(salt, 'hex'),
      decode(mac, 'hex'), kid, 6, 1, 5, 1, now(), now() + interval '1 day' from ${rows}`)
  await db.many(sql`insert into audit_events (request_id, app_id, sequence, type, actor, detail)
    select id, ${appId}, 1, 'requested', 'bench', '{}' from ${rows}`)
  await db.many(sql`insert into check_budgets (recipient_id, environment, wrong, consecutive)
    select recipient, 'staging', array[now()], 1 from ${rows}`)
}

const endOf: Partial<Record<Kind, SQL>> = {
  expired: sql`state = 'expired', reason = 'lifetime_over'`,
  used: sql`state = 'verified', reason = 'code_matched'`,
  locked: sql`state = 'locked', reason = 'too_many_checks', checks = 5`,
}

async function end(db: Database, kind: Kind, made: readonly Stored[]): Promise<void> {
  const columns = endOf[kind]
  if (!columns) return
  const ids = sql.param(made.map(({ id }) => id))
  await db.many(sql`update otp_requests set ${columns}, ended_at = now() + interval '1 day', code_salt = null,
    code_mac = null where id = any(${ids})`)
}

async function prepare(system: System, samples: number, byId: boolean): Promise<Probe[]> {
  const db = createDatabase(system.databaseUrl, { max: 1 })
  const keyring = openKeyFile(system.keysFile, { strict: false })
  const probes: Probe[] = []
  try {
    await db.many(sql`update api_keys set requests_per_minute = 1000000000`)
    for (let number = 0; number < samples * kinds.length; number += rowsAtOnce) {
      const kind = kinds[Math.floor(number / samples)] ?? 'wrong'
      const made = Array.from({ length: rowsAtOnce }, (_, i) =>
        makeRequest(keyring, kind, number + i),
      )
      if (kind !== 'unknown') await store(db, made)
      await end(db, kind, made)
      for (const { id, phone, typed } of made)
        probes.push({
          kind,
          body: { ...(byId ? { request_id: id } : { phone_number: phone }), code: typed },
        })
    }
    for (const name of ['otp_requests', 'recipients', 'audit_events', 'check_budgets'])
      await db.many(sql`vacuum analyze ${sql.raw(name)}`)
    await db.many(sql`checkpoint`)
  } finally {
    keyring.close()
    await db.close()
  }
  return shuffle(probes)
}

function shuffle<T>(values: T[]): T[] {
  return values
    .map((value) => ({ value, order: Math.random() }))
    .sort((one, other) => one.order - other.order)
    .map(({ value }) => value)
}

const expected: Record<Kind, RegExp> = {
  right: /"verified"/,
  wrong: /INVALID_CODE/,
  unknown: /NO_ACTIVE_REQUEST/,
  expired: /EXPIRED/,
  used: /ALREADY_USED/,
  locked: /LOCKED/,
}

/** Milliseconds of each check, by kind; of those that are done in time. */
async function measure({ url, key }: System, probes: readonly Probe[], { callers, minutes }: Wish) {
  const agent = new Agent({ connections: callers, pipelining: 1 })
  const until = performance.now() + minutes * 60_000
  const times = Object.fromEntries(kinds.map((kind) => [kind, [] as number[]])) as Record<
    Kind,
    number[]
  >
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const next = probes.entries()
  const call = async () => {
    for (const [done, { kind, body }] of next) {
      if (performance.now() > until) return
      const text = JSON.stringify(body)
      const since = performance.now()
      const answer = await request(`${url}/otp/verify`, {
        ...{ method: 'POST', dispatcher: agent, headers },
        body: text,
      })
      const said = await answer.body.text()
      const took = performance.now() - since
      if (!expected[kind].test(said)) throw new Error(`${kind} was answered with ${said}`)
      times[kind].push(took)
      if (done % 10_000 === 0) console.error(`[bench] ${done} of ${probes.length} checks`)
    }
  }
  await Promise.all(Array.from({ length: callers }, call))
  await agent.close()
  return times
}

/** Welch's t of two samples: how many standard errors their means are apart. */
function welch(one: readonly number[], other: readonly number[]): number {
  const [a, b] = [momentsOf(one), momentsOf(other)]
  return (a.mean - b.mean) / Math.sqrt(a.variance / one.length + b.variance / other.length)
}

function momentsOf(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, variance: squares / (values.length - 1) }
}

function report(times: Record<Kind, number[]>): void {
  const rows = kinds.map((kind) => {
    const { mean, variance } = momentsOf(times[kind])
    const [p10, p50, p90] = [0.1, 0.5, 0.9].map((share) => quantile(times[kind], share).toFixed(3))
    return [
      kind,
      times[kind].length,
      mean.toFixed(3),
      Math.sqrt(variance).toFixed(3),
      p10,
      p50,
      p90,
    ]
  })
  console.log(table(['check', 'samples', 'mean ms', 'deviation', 'p10', 'p50', 'p90'], rows))
  const apart = pairs.map(([one, other]) => {
    const both = [...times[one], ...times[other]]
    const values = crops.map((share) => {
      const most = share === 1 ? Number.POSITIVE_INFINITY : quantile(both, share)
      const below = (kind: Kind) => times[kind].filter((value) => value <= most)
      return welch(below(one), below(other))
    })
    const all = values[0] ?? 0
    return [
      `${one} and ${other}`,
      ...values.map((value) => value.toFixed(2)),
      Math.abs(all) < threshold ? 'no' : 'yes',
    ]
  })
  const heading = crops.map((share) => (share === 1 ? 't of all' : `fastest ${share * 100} %`))
  console.log(`\n${table(['pair', ...heading, `apart (|t| of all > ${threshold})`], apart)}`)
}

interface Wish {
  callers: number
  minutes: number
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      samples: { type: 'string', default: '10000' },
      by: { type: 'string', default: 'phone_number' },
      callers: { type: 'string', default: '1' },
      minutes: { type: 'string', default: '60' },
    },
  })
  const wish = { callers: Number(values.callers), minutes: Number(values.minutes) }
  const samples = Math.ceil(Number(values.samples) / rowsAtOnce) * rowsAtOnce
  console.log(machineFacts())
  const system = await startSystem({ programs: ['api'] })
  try {
    const byId = values.by === 'request_id'
    const probes = await prepare(system, samples, byId)
    console.log(`\nChecks by ${values.by}, ${wish.callers} at a time.\n`)
    report(await measure(system, probes, wish))
  } finally {
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
