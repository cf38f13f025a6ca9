import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import { makeSalt } from '../codes/code'
import { openKeyFile } from '../codes/key-file'
import type { Keyring } from '../codes/keyring'
import { randomId } from '../codes/random-id'
import { globalIndex } from '../codes/seal'
import { createDatabase, type Database } from '../db'
import { quantile, table } from './figures'
import { machineFacts } from './machine'
import { startSystem, type System } from './system'

// How long does a person who dialled look at an empty screen? Every number dials once, half of them for a code that
// waits, so many at a time. Only Postgres and the API run: nothing else is asked.

const appId = 'demo'
const account = 'sandbox-a'
const kinds = ['waits', 'nothing'] as const
type Kind = (typeof kinds)[number]

interface Probe {
  kind: Kind
  phone: string
}

const plan = JSON.stringify([
  { channel: 'ussd', providers: [account], timeoutMs: 15_000, success: 'delivered' },
])

/** Requests as sends leave them, written at once for many. */
async function store(db: Database, keyring: Keyring, phones: readonly string[]): Promise<void> {
  const { kid } = keyring.active('codes')
  const made = phones.map((phone) => ({
    ...{ id: randomId('otp'), recipient: randomId('rcp'), salt: makeSalt().toString('hex') },
    index: globalIndex(keyring, phone).toString('hex'),
  }))
  const rows = sql`jsonb_to_recordset(${JSON.stringify(made)}::jsonb) as m(id text, recipient text, salt text, index text)`
  await db.many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    select recipient, ${appId}, 'phone', decode(index, 'hex'), 'bench', '', 'bench' from ${rows}`)
  await db.many(sql`insert into otp_requests (id, app_id, recipient_id, purpose, environment, locale, brand, plan,
      code_salt, code_mac, code_kid, code_length, max_checks, audit_seq, workflow_started_at, expires_at)
    select id, ${appId}, recipient, 'default', 'staging', 'en', 'Demo', ${plan}::jsonb, decode(salt, 'hex'), '', ${kid},
      6, 5, 1, now(), now() + interval '1 hour' from ${rows}`)
  await db.many(sql`insert into audit_events (request_id, app_id, sequence, type, actor, detail)
    select id, ${appId}, 1, 'requested', 'bench', '{}' from ${rows}`)
  await db.many(sql`insert into ussd_windows (request_id, provider, step, success, service_code, global_index, expires_at)
    select id, ${account}, 0, 'delivered', '*920*1#', decode(index, 'hex'), now() + interval '1 hour' from ${rows}`)
}

async function prepare(system: System, samples: number): Promise<Probe[]> {
  const db = createDatabase(system.databaseUrl, { max: 1 })
  const keyring = openKeyFile(system.keysFile, { strict: false })
  try {
    const probes = Array.from({ length: samples }, (_, number) => ({
      kind: kinds[number % 2] ?? 'waits',
      phone: `+23324${String(1_000_000 + number)}`,
    }))
    const waiting = probes.filter(({ kind }) => kind === 'waits').map(({ phone }) => phone)
    for (let from = 0; from < waiting.length; from += 500)
      await store(db, keyring, waiting.slice(from, from + 500))
    for (const name of ['otp_requests', 'ussd_windows', 'audit_events'])
      await db.many(sql`vacuum analyze ${sql.raw(name)}`)
    return probes
  } finally {
    keyring.close()
    await db.close()
  }
}

const expected: Record<Kind, RegExp> = { waits: /Your Demo code is/, nothing: /No code is waiting/ }

async function measure(system: System, probes: readonly Probe[], callers: number) {
  const agent = new Agent({ connections: callers, pipelining: 1 })
  const webhook = new Webhook(system.sandboxSecret)
  const times: Record<Kind, number[]> = { waits: [], nothing: [] }
  const queue = [...probes]
  const caller = async () => {
    for (let probe = queue.shift(); probe; probe = queue.shift()) {
      const [id, at] = [randomUUID(), new Date()]
      const body = JSON.stringify({ session_id: id, phone_number: probe.phone })
      const headers = {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
        'webhook-signature': webhook.sign(id, at, body),
      }
      const url = `${system.url}/ussd/${account}/session`
      const since = performance.now()
      const answer = await request(url, { method: 'POST', dispatcher: agent, headers, body })
      const text = await answer.body.text()
      times[probe.kind].push(performance.now() - since)
      if (!expected[probe.kind].test(text)) throw new Error(`${probe.kind}: ${text}`)
    }
  }
  const since = performance.now()
  await Promise.all(Array.from({ length: callers }, caller))
  const seconds = (performance.now() - since) / 1_000
  await agent.close()
  return { times, perSecond: probes.length / seconds }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      samples: { type: 'string', default: '4000' },
      callers: { type: 'string', default: '20' },
    },
  })
  const callers = Number(values.callers)
  console.log(machineFacts())
  const system = await startSystem({ programs: ['api'] })
  try {
    const probes = await prepare(system, Number(values.samples))
    // What is loaded and planned at the first calls is not what is measured.
    await measure(system, probes.splice(0, 200), callers)
    const { times, perSecond } = await measure(system, probes, callers)
    console.log(`\n${callers} sessions at a time, ${perSecond.toFixed(0)} a second.\n`)
    const heading = ['dialled', 'sessions', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms']
    const rows = kinds.map((kind) => [
      kind === 'waits' ? 'a code waits' : 'nothing waits',
      times[kind].length,
      ...[0.5, 0.95, 0.99, 1].map((share) => quantile(times[kind], share).toFixed(1)),
    ])
    console.log(table(heading, rows))
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
