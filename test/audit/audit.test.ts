import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Client } from 'pg'
import pino from 'pino'
import { usualRetention } from '../../core/recipients/retention'
import { sealBatch } from '../../db/audit/seal'
import { retire as retireAll } from '../../db/upkeep/retention'
import { startSealer } from '../../worker/sealer'
import { attack, auditedRequests } from '../harness/audit'
import { until } from '../harness/client'

type Audited = Awaited<ReturnType<typeof auditedRequests>>
let all: Audited['all']
let audit: Audited['audit']
let one: Audited['one']
let other: Audited['other']
let liveThrough: Audited['liveThrough']
let countOf: Audited['countOf']
let kinds: Audited['kinds']
let close: Audited['close']
beforeEach(async () => {
  ;({ all, audit, one, other, liveThrough, countOf, kinds, close } = await auditedRequests())
})
afterEach(() => close())

describe('sealing', () => {
  test('gives every row a seal, numbered without gaps, and verifies', async () => {
    const rows = await countOf('audit_events')
    // Small batches, so that a chain goes on from one to the next.
    expect(await audit.seal(3)).toBe(rows)
    const numbers = await all.db.many<{ number: string }>(
      sql`select number::text from audit_seals s order by s.number`,
    )
    expect(numbers.map(({ number }) => Number(number))).toEqual(
      Array.from({ length: rows }, (_, index) => index + 1),
    )
    expect(await countOf('audit_unsealed')).toBe(0)
    expect(await audit.verify()).toMatchObject({ rows, findings: [] })
    expect(await audit.seal()).toBe(0)
  })

  test('misses no row that commits late with a lower id, and waits for a forerunner', async () => {
    await audit.seal()
    const late = new Client({ connectionString: all.url })
    await late.connect()
    const insert = (sequence: number, type = 'receipt') =>
      `insert into audit_events (request_id, app_id, sequence, type, actor, detail)
       values ('${one}', 'app', ${sequence}, '${type}', 'test', '{}')`
    await late.query('begin')
    await late.query(insert(5))
    // Another transaction takes the next place and a higher id, and commits first.
    await all.db.many(sql.raw(insert(6)))
    await liveThrough()
    await all.db.many(sql`update otp_requests set audit_seq = 6 where id = ${one}`)
    expect(await audit.seal()).toBe(4)
    expect(await countOf('audit_unsealed')).toBe(1)
    await late.query('commit')
    await late.end()
    // The row that waited stands before its forerunner by neither id nor time.
    while ((await audit.seal()) > 0);
    expect(await countOf('audit_unsealed')).toBe(0)
    expect(await kinds()).toEqual([])
  })

  test('is done by one at a time, however many workers there are', async () => {
    for (let i = 0; i < 10; i++) await liveThrough()
    const before = await countOf('audit_events')
    const seal = () => sealBatch(all.db, all.keyring, { after: '0', limit: 7 })
    await Promise.all(Array.from({ length: 30 }, seal))
    while (await audit.seal());
    expect(await countOf('audit_seals')).toBe(before)
    expect(await kinds()).toEqual([])
  })

  test('a worker’s loop seals a row within a minute and writes the first root', async () => {
    const sealer = startSealer({
      db: all.db,
      keyring: all.keyring,
      auditDir: audit.folder,
      log: pino({ level: 'silent' }),
    })
    try {
      const rows = await countOf('audit_events')
      await until(async () => (await countOf('audit_seals')) === rows, { within: 25_000 })
      await until(async () => (await countOf('audit_roots')) === 1, { within: 25_000 })
      const late = await liveThrough()
      const committed = Date.now()
      await until(async () => (await countOf('audit_unsealed')) === 0, { within: 60_000 })
      expect(Date.now() - committed).toBeLessThan(60_000)
      expect(await countOf(`audit_seals where chain = '${late}'`)).toBe(4)
    } finally {
      await sealer.stop()
    }
    expect(await kinds()).toEqual([])
  })

  test('seals what was written before there were seals', async () => {
    await attack(all.adminUrl, ['truncate audit_unsealed'])
    expect(await audit.seal()).toBe(0)
    await attack(all.adminUrl, ['insert into audit_unsealed select id from audit_events'])
    expect(await audit.seal()).toBe(11)
    expect(await kinds()).toEqual([])
  })
})

describe('retention', () => {
  const age = (days: number, id: string) => [
    `update otp_requests set created_at = created_at - interval '${days} days' where id = '${id}'`,
    `update audit_events set at = at - interval '${days} days' where chain = '${id}'`,
  ]
  const retire = async (days: number, { requests = days, batch = 100 } = {}) => {
    let gone = 0
    const keep = { ...usualRetention, audit: days, requests }
    for await (const { part, count } of retireAll(all.db, keep, batch))
      if (part === 'requests') gone += count
    return gone
  }

  test('takes whole requests away, years later, and the audit still verifies', async () => {
    await attack(all.adminUrl, age(400, one))
    await audit.seal()
    await audit.root()
    const rows = await countOf('audit_events')
    expect(await retire(365)).toBe(1)
    expect(await countOf('audit_events')).toBe(rows - 4)
    expect(await countOf('audit_seals')).toBe(rows - 4)
    expect(await countOf(`otp_requests where id = '${one}'`)).toBe(0)
    expect(await retire(365)).toBe(0)
    await liveThrough()
    await audit.seal()
    await audit.root()
    expect(await kinds()).toEqual([])
    // With the longer retention of somebody else this is a deletion.
    expect(await kinds({ retainedDays: 500 })).toEqual(['chain_deleted one'])
  })

  test('leaves a request that had something to say since, and one that is not sealed', async () => {
    await attack(all.adminUrl, [...age(400, one), ...age(400, other)])
    await attack(all.adminUrl, [
      `update audit_events set at = now() where chain = '${one}' and sequence = 4`,
    ])
    expect(await retire(365)).toBe(0)
    await audit.seal()
    expect(await retire(365, { batch: 1 })).toBe(1)
    expect(await countOf(`audit_events where chain = '${one}'`)).toBe(4)
  })

  test('keeps the trail of a request for as long as the request: it may have more to say', async () => {
    await attack(all.adminUrl, age(100, one))
    await audit.seal()
    expect(await retire(90, { requests: 365 })).toBe(0)
    await all.db.many(sql.raw(noted(one)))
    await audit.seal()
    await audit.root()
    expect(await countOf('audit_unsealed')).toBe(0)
    expect(await kinds({ retainedDays: 90 })).toEqual([])
  })

  test('lets a request alone that somebody is just writing about', async () => {
    await attack(all.adminUrl, age(400, one))
    await audit.seal()
    const writer = new Client({ connectionString: all.url })
    await writer.connect()
    await writer.query('begin')
    await writer.query(noted(one))
    expect(await retire(365)).toBe(0)
    await writer.query('commit')
    await writer.end()
    expect(await retire(365)).toBe(0)
    await audit.seal()
    await audit.root()
    expect(await kinds()).toEqual([])
  })

  test('no excuse for a request without a trail: the two go together', async () => {
    await attack(all.adminUrl, age(400, one))
    await audit.seal()
    await all.db.many(sql`select retire_audit(now() - interval '365 days', 1)`)
    expect(await kinds()).toEqual(expect.arrayContaining(['chain_deleted one']))
  })

  test('refuses what is younger than 90 days', async () => {
    await expect(retire(89)).rejects.toThrow(/90 days/)
  })

  /** Another row about a request, as the service writes one. */
  const noted = (id: string) => `
    with said as (update otp_requests set audit_seq = audit_seq + 1 where id = '${id}' returning id, app_id, audit_seq)
    insert into audit_events (request_id, app_id, sequence, type, actor, detail)
    select id, app_id, audit_seq, 'erased', 'test', '{}' from said`
})
