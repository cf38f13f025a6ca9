import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'drizzle-orm'
import { Client as Postgres } from 'pg'
import { loadPolicy } from '../../config/policy'
import { randomId } from '../../codes/random-id'
import { usualRetention } from '../../core/recipients/retention'
import { addPage } from '../../db/requests/pages'
import { retire, type Retired } from '../../db/upkeep/retention'
import { retentionScheduleId } from '../../temporal/schedules'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { dumpPostgres, dumpTemporal, findLeaks } from '../harness/leaks'
import { asWorkersDo, pauseSchedule, triggerRun } from '../harness/schedules'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
/** A superuser: the service itself cannot make audit rows older. */
let admin: Postgres
beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  admin = new Postgres({ connectionString: system.adminUrl })
  await admin.connect()
})
afterAll(async () => {
  await admin.end()
  await system.stop()
})

/** What all rows of a time of the past look like after some days: as if the clock had jumped. */
async function daysPass(days: number): Promise<void> {
  const { rows } = await admin.query<{ table: string; columns: string[] }>(`
    select c.table_name as table, array_agg(c.column_name::text) as columns
    from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.data_type like 'timestamp%'
    group by 1`)
  // Triggers and foreign keys rest meanwhile.
  await admin.query(`set session_replication_role = replica`)
  for (const { table, columns } of rows) {
    const sets = columns.map((name) => `"${name}" = "${name}" - interval '${days} days'`)
    await admin.query(`update "${table}" set ${sets.join(', ')}`)
  }
  await admin.query('delete from audit_unsealed')
  await admin.query(`set session_replication_role = default`)
}

async function retireAll(keep = usualRetention, batch = 500) {
  const counts: Partial<Record<Retired['part'], number>> = {}
  for await (const { part, count } of retire(system.db, keep, batch))
    counts[part] = (counts[part] ?? 0) + count
  return counts
}

const tables = [
  'requests',
  'attempts',
  'receipts',
  'contexts',
  'texts',
  'addresses',
  'audit',
  'opted',
  'pages',
] as const
const left = () =>
  system.db.one<Record<(typeof tables)[number], number>>(sql`select
    (select count(*)::int from otp_requests) as requests,
    (select count(*)::int from attempts) as attempts,
    (select count(*)::int from receipts) as receipts,
    (select count(*)::int from request_contexts) as contexts,
    (select count(*)::int from otp_requests where message_ciphertext is not null or metadata_ciphertext is not null) as texts,
    (select count(*)::int from recipients where ciphertext is not null) as addresses,
    (select count(*)::int from opt_outs) as opted,
    (select count(*)::int from page_requests) as pages,
    (select count(*)::int from audit_events where request_id is not null) as audit`)

/** A whole life with everything that can be kept about it. */
async function verified(phone: string): Promise<string> {
  const id = await client.sent(phone, {
    channels: ['sms'],
    message: 'Code {{code}}',
    metadata: { order: '17' },
    ip_address: '203.0.113.7',
    consent: { text_version: '3' },
  })
  const { code } = await until(async () => (await client.inbox(phone))[0])
  await until(async () => (await client.status(id)).delivered_at)
  await client.verify({ request_id: id, code })
  await untilState(client, id, 'verified')
  return id
}

describe('when the days pass', () => {
  const stopped = freshPhone()
  const count = 7
  let id: string

  beforeAll(async () => {
    const phones = Array.from({ length: count - 1 }, freshPhone)
    ;[id = ''] = await Promise.all([...phones, stopped].map(verified))
    await client.call('PUT', '/preferences', { phone_number: phones[0], channel: 'sms' })
    await client.call('POST', '/consent/withdraw', { phone_number: stopped })
    const requests = await system.db.many<{ requestId: string }>(
      sql`select id as "requestId" from otp_requests`,
    )
    for (const { requestId } of requests)
      await addPage(system.db, { id: randomId('otp'), requestId })
  }, 60_000)

  test('a fresh day keeps everything', async () => {
    const before = await left()
    expect(before).toMatchObject({ requests: count, contexts: count, texts: count, opted: 1 })
    await daysPass(0.9)
    await retireAll()
    expect(await left()).toEqual(before)
  })

  test('a day after its end a request’s texts go, in batches however small', async () => {
    await daysPass(0.2)
    expect(await retireAll(usualRetention, 3)).toMatchObject({ messages: count })
    expect(await left()).toMatchObject({ texts: 0, contexts: count, addresses: count })
    expect(await client.status(id)).not.toHaveProperty('metadata')
  })

  test('after 30 days addresses and consent go; a STOP stays, and so does what happened', async () => {
    const { requests, attempts, receipts, audit } = (await left()) ?? {}
    await daysPass(28)
    expect(await retireAll()).toMatchObject({ contexts: 0, recipients: 0 })
    await daysPass(2)
    expect(await retireAll(usualRetention, 3)).toMatchObject({
      contexts: count,
      recipients: count - 1,
    })
    expect(await left()).toMatchObject({
      requests,
      attempts,
      receipts,
      audit,
      contexts: 0,
      addresses: 1,
      opted: 1,
      // Of the request whose recipient stays: it goes with that.
      pages: 1,
    })
    expect(await system.db.many(sql`select from preferences`)).toEqual([])
    expect((await client.send(stopped)).status).toBe(403)
    expect(await client.status(id)).toMatchObject({ state: 'verified' })
  })

  test('a recipient who was written to of late stays', async () => {
    const regular = freshPhone()
    const first = await client.sent(regular, { channels: ['sms'] })
    await client.call('POST', `/otp/${first}/cancel`)
    await daysPass(40)
    const second = await client.sent(regular, { channels: ['sms'] })
    await client.call('POST', `/otp/${second}/cancel`)
    expect(await retireAll()).toMatchObject({ recipients: 0 })
    const found = await client.call('POST', '/otp/search', { phone_number: regular })
    expect(found.body).toMatchObject({ requests: [{ request_id: second }, { request_id: first }] })
  })

  test('what providers know messages by goes with the address: an erasure could not find it any more', async () => {
    const phone = freshPhone()
    const sent = await verified(phone)
    const found = await system.db.one<{ messageId: string }>(
      sql`select provider_message_id as "messageId" from attempts where request_id = ${sent}`,
    )
    const secrets = [found?.messageId ?? 'none', phone.slice(1)]
    const places = async () => findLeaks(await dumpPostgres(system.databaseUrl), secrets)
    expect(await places()).toEqual(
      expect.arrayContaining(['public.attempts.provider_message_id', 'public.receipts.event_key']),
    )
    await daysPass(31)
    await retireAll()
    expect(await places()).toEqual([])
    // Nor is it kept when it comes once more.
    expect(
      await system.db.one(sql`select erased from otp_requests where id = ${sent}`),
    ).toMatchObject({ erased: true })
  })

  test('a preference that was set of late stays, however old its recipient', async () => {
    const address = { phone_number: freshPhone() }
    await client.call('PUT', '/preferences', { ...address, channel: 'sms' })
    await daysPass(31)
    await client.call('PUT', '/preferences', { ...address, channel: 'voice' })
    await retireAll()
    const kept = await client.call('POST', '/preferences/lookup', address)
    expect(kept.body).toMatchObject({ channel: 'voice' })
    await daysPass(31)
    await retireAll()
    const gone = await client.call('POST', '/preferences/lookup', address)
    expect(gone.body).toMatchObject({ channel: null })
  })

  test('a send at the moment of it is never left without its recipient', async () => {
    const phones = Array.from({ length: 10 }, freshPhone)
    for (const phone of phones) {
      const live = await client.sent(phone, { channels: ['sms'] })
      await client.call('POST', `/otp/${live}/cancel`)
    }
    await daysPass(31)
    const [sent] = await Promise.all([
      Promise.all(phones.map((phone) => client.sent(phone, { channels: ['sms'] }))),
      retireAll(usualRetention, 3),
      retireAll(usualRetention, 2),
    ])
    const delivered = async (id: string) => (await client.status(id)).delivered_at
    for (const id of sent) await until(() => delivered(id), { what: 'a message' })
    await Promise.all(sent.map((id) => client.call('POST', `/otp/${id}/cancel`)))
    const orphans = await system.db
      .many(sql`select q.id from otp_requests q join recipients r on r.id = q.recipient_id
      where q.id in ${sent} and r.erased_at is not null`)
    expect(orphans).toEqual([])
  }, 60_000)

  test('after a year whole requests go, with their trail, but not those of today', async () => {
    const phone = freshPhone()
    await daysPass(366)
    const today = await verified(phone)
    const { requests } = await retireAll(usualRetention, 4)
    expect(requests).toBeGreaterThan(count)
    expect(await left()).toMatchObject({ requests: 1, attempts: 1, receipts: 1, addresses: 2 })
    const chains = await system.db.many(
      sql`select distinct request_id as id from audit_events where request_id is not null`,
    )
    expect(chains).toEqual([{ id: today }])
    await daysPass(366)
    await retireAll()
    expect(await left()).toMatchObject({ requests: 0, audit: 0, addresses: 1, opted: 1 })
    await daysPass(366)
    await retireAll()
    // The STOP is all that is left of anybody.
    expect(await system.db.one(sql`select count(*)::int as count from recipients`)).toEqual({
      count: 1,
    })
  })

  test('audit rows younger than 90 days stay, whatever a policy says', async () => {
    await expect(retireAll({ ...usualRetention, audit: 89, requests: 89 })).rejects.toThrow(
      '90 days',
    )
  })
})

describe('the schedule', () => {
  test('is made once, runs the removal, and tells Temporal counts and nothing else', async () => {
    const connection = await Connection.connect(system.temporal.connection)
    try {
      const temporal = new Client({ connection })
      await Promise.all([1, 2].map(() => asWorkersDo(() => system.engine.scheduleRetention())))
      const handle = temporal.schedule.getHandle(retentionScheduleId(system.temporal.taskQueue))
      await pauseSchedule(handle)
      await asWorkersDo(() => system.engine.scheduleRetention())
      const { state, policies } = await handle.describe()
      expect(state.paused).toBe(true)
      expect(policies.overlap).toBe('SKIP')

      const phone = freshPhone()
      await verified(phone)
      await daysPass(31)
      const workflowId = await triggerRun(handle)
      const result: unknown = await temporal.workflow.getHandle(workflowId).result()
      expect(result).toMatchObject({ messages: 1, contexts: 1, recipients: 1, requests: 0 })
      expect(findLeaks(await dumpTemporal([workflowId]), [phone.slice(1)])).toEqual([])
      expect(await left()).toMatchObject({ texts: 0, contexts: 0 })
    } finally {
      await connection.close()
    }
  }, 90_000)
})

describe('the policy', () => {
  test('the shipped one says how long everything is kept', () => {
    const shipped = loadPolicy(undefined)
    expect(shipped.success && shipped.policy.retention).toEqual(usualRetention)
  })
})
