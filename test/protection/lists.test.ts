import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import { keptAs, keptIndexes } from '../../codes/kept-index'
import { createApiKey } from '../../db/apps/api-keys'
import { putListEntry, readListEntries } from '../../db/protection/lists'
import { readTestNumbers } from '../../db/protection/test-numbers'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { keyUses } from '../../db/upkeep/key-use'
import { reencrypt } from '../../db/upkeep/reencrypt'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, visitorsOf } from '../harness/visitor'

let system: System
let client: TestClient
let operator: TestClient

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system.stop())

interface Entry {
  entry_id: string
  value: string
  errors?: { field: string }[]
}
const list = (verdict: string, kind: string, value: string, more: object = {}, by = operator) =>
  by.call<Entry>('POST', '/admin/lists', { app_id: 'app', verdict, kind, value, ...more })
async function listed(...given: Parameters<typeof list>): Promise<Entry> {
  const { status, body } = await list(...given)
  expect([given, status, body]).toMatchObject([given, 200, {}])
  return body
}
const remove = ({ entry_id }: Entry) => operator.call('DELETE', `/admin/lists/${entry_id}`)
const statusOf = async (phone: string, given: object = {}) =>
  (await client.send(phone, { ...given })).status
const lastDecision = async () =>
  (
    await system.db.many<{ verdict: string; rules: string[] }>(sql`
      select verdict, array(select f ->> 'rule' from jsonb_array_elements(findings) f) as rules
      from send_decisions order by id desc limit 1`)
  )[0]

describe('a block', () => {
  test('of a number: refused, written down, and lifted again', async () => {
    const phone = freshPhone()
    const entry = await listed('block', 'phone_number', phone, { note: 'a fraud report' })
    expect(entry.value).toBe(`${phone.slice(0, -4)}****`)
    const { status, body } = await client.send(phone)
    expect({ status, code: body.error_code }).toEqual({ status: 403, code: 'BLOCKED' })
    expect(JSON.stringify(body)).toContain('block list')
    expect(await lastDecision()).toEqual({ verdict: 'blocked', rules: ['listed'] })
    expect((await clientOf(system, system.otherKey).send(phone)).status).toBe(200)
    expect((await remove(entry)).status).toBe(200)
    expect(await statusOf(phone)).toBe(200)
    expect((await remove(entry)).status).toBe(404)
  })

  test('strangers are not told why', async () => {
    const phone = freshPhone()
    const entry = await listed('block', 'phone_number', phone)
    const visitor = visitorsOf(system, await publishableKeyOf(system))()
    const { status, body } = await visitor.send(phone)
    expect({ status, code: body.error_code, says: body.detail }).toEqual({
      status: 403,
      code: 'BLOCKED',
      says: 'This recipient is blocked.',
    })
    await remove(entry)
  })

  test.each<[string, string, () => [string, object]]>([
    ['prefix', '+2332499', () => ['+233249912345', {}]],
    ['country', 'CI', () => ['+2250701234567', {}]],
    ['network', '203.0.113.0/24', () => [freshPhone(), { ip_address: '203.0.113.9' }]],
    ['network', '2001:db8:77::/48', () => [freshPhone(), { ip_address: '2001:db8:77:1::5' }]],
    ['network', '198.51.100.7', () => [freshPhone(), { ip_address: '198.51.100.7' }]],
  ])('of a %s, %s', async (kind, value, sendOf) => {
    const [phone, given] = sendOf()
    const entry = await listed('block', kind, value)
    expect(await statusOf(phone, given)).toBe(403)
    expect(await statusOf(freshPhone(), { ip_address: '198.51.100.8' })).toBe(200)
    await remove(entry)
    expect(await statusOf(phone, given)).toBe(200)
  })

  test('of an e-mail address, its domain, and the one that that is in', async () => {
    const send = async (email: string) => (await client.call('POST', '/otp/send', { email })).status
    const entries = [
      await listed('block', 'email', 'Ann@Example.com'),
      await listed('block', 'domain', 'mail.test.example.org'),
      await listed('block', 'domain', 'example.net'),
    ]
    expect(entries[0]?.value).toBe('a***@example.com')
    expect(await send('ann@example.com')).toBe(403)
    expect(await send('bob@example.com')).toBe(200)
    expect(await send('bob@mail.test.example.org')).toBe(403)
    expect(await send('bob@test.example.org')).toBe(200)
    expect(await send('bob@deep.in.example.net')).toBe(403)
    for (const entry of entries) await remove(entry)
  })

  test('of operators is for every app, and no app lifts it', async () => {
    const phone = freshPhone()
    const global = await listed('block', 'prefix', phone.slice(0, -2), { app_id: undefined })
    const own = await listed('allow', 'phone_number', phone)
    expect(await statusOf(phone)).toBe(403)
    expect((await clientOf(system, system.otherKey).send(phone)).status).toBe(403)
    await Promise.all([remove(global), remove(own)])
  })

  test('of somebody with a live request: no more messages are had by asking', async () => {
    const phone = freshPhone()
    const requestId = await client.sent(phone)
    const entry = await listed('block', 'prefix', phone.slice(0, 9))
    for (const call of ['resend', 'next'])
      expect(await client.call('POST', `/otp/${requestId}/${call}`)).toMatchObject({
        status: 403,
        body: { error_code: 'BLOCKED', request_id: requestId },
      })
    await remove(entry)
    expect((await client.call('POST', `/otp/${requestId}/next`)).status).toBe(200)
  })

  test('ends with its time', async () => {
    const phone = freshPhone()
    const inAnHour = new Date(Date.now() + 3_600_000).toISOString()
    const entry = await listed('block', 'phone_number', phone, { expires_at: inAnHour })
    expect(await statusOf(phone)).toBe(403)
    await system.db.many(
      sql`update list_entries set expires_at = now() - interval '1 second' where id = ${entry.entry_id}`,
    )
    expect(await statusOf(phone)).toBe(200)
    await deleteOutlived(system.db, 100)
    expect((await remove(entry)).status).toBe(404)
  })
})

describe('an allow entry', () => {
  test('of the very number: its kind does not matter; of a prefix: it does', async () => {
    const premium = '+449012345678'
    expect(await statusOf(premium)).toBe(403)
    const prefix = await listed('allow', 'prefix', '+44901')
    expect(await statusOf(premium)).toBe(403)
    const entry = await listed('allow', 'phone_number', premium)
    expect(await statusOf(premium)).toBe(200)
    await Promise.all([remove(prefix), remove(entry)])
  })

  test('keeps the fraud rules away', async () => {
    const block = '+23320555'
    const entry = await listed('allow', 'prefix', block)
    // On our own machine nothing is counted.
    const elsewhere = { ip_address: '203.0.113.44' }
    for (let i = 0; i < 3; i++) expect(await statusOf(`${block}012${i}`, elsewhere)).toBe(200)
    const counted = await system.db.many(
      sql`select from send_standings where name like ${`%${block}%`}`,
    )
    expect(counted).toEqual([])
    await remove(entry)
    expect(await statusOf(`${block}0129`, elsewhere)).toBe(200)
    const now = await system.db.many(
      sql`select from send_standings where name like ${`%${block}%`}`,
    )
    expect(now.length).toBeGreaterThan(0)
  })

  test('takes the place of a block of the same, whoever comes last', async () => {
    const phone = freshPhone()
    await listed('block', 'phone_number', phone)
    await listed('allow', 'phone_number', phone)
    expect(await statusOf(phone)).toBe(200)
    const verdicts = ['block', 'allow', 'block', 'allow', 'block']
    await Promise.all(verdicts.map((verdict) => listed(verdict, 'phone_number', phone)))
    const { body } = await operator.call<{ entries: Entry[] }>(
      'GET',
      '/admin/lists?app_id=app&limit=100',
    )
    const about = body.entries.filter(({ value }) => value === `${phone.slice(0, -4)}****`)
    expect(about).toHaveLength(1)
    for (const entry of about) await remove(entry)
  })
})

describe('those who administer lists', () => {
  test('read them in pages, those of operators apart', async () => {
    const values = ['+23320101', '+23320102', '+23320103']
    const entries = []
    for (const value of values) entries.push(await listed('block', 'prefix', value))
    const global = await listed('block', 'prefix', '+23320104', { app_id: undefined })
    const found: Entry[] = []
    for (let cursor = ''; ;) {
      const { body } = await operator.call<{ entries: Entry[]; next_cursor: string | null }>(
        'GET',
        `/admin/lists?app_id=app&limit=2${cursor}`,
      )
      found.push(...body.entries)
      if (body.next_cursor === null) break
      cursor = `&cursor=${body.next_cursor}`
    }
    expect(found.map(({ value }) => value).sort()).toEqual(values)
    const { body } = await operator.call<{ entries: Entry[] }>('GET', '/admin/lists')
    expect(body.entries.map(({ value }) => value)).toEqual(['+23320104'])
    const trail = await system.db.many(sql`
      select app_id, detail from audit_events where type = 'list_changed' order by id desc limit 1`)
    expect(trail).toMatchObject([
      { app_id: null, detail: { change: 'added', kind: 'prefix', verdict: 'block' } },
    ])
    for (const entry of [...entries, global]) await remove(entry)
  })

  test.each([
    ['phone_number', '12'],
    ['prefix', '23324'],
    ['prefix', '+2'],
    ['country', 'XX'],
    ['network', '203.0.113.0/4'],
    ['network', '2001:db8::/33'],
    ['network', 'example.com'],
    ['email', 'nobody'],
    ['domain', 'localhost'],
    ['planet', 'Earth'],
  ])('a %s is not %s', async (kind, value) => {
    expect((await list('block', kind, value)).status).toBe(400)
  })

  test('a time that is over is none', async () => {
    const over = { expires_at: '2020-01-01T00:00:00Z' }
    expect((await list('block', 'country', 'CI', over)).status).toBe(400)
  })

  test('an app’s key: its own list alone, and no test key', async () => {
    const keyOf = async (environment: 'staging' | 'production') =>
      clientOf(
        system,
        (await createApiKey(system.db, { appId: 'app', environment, scopes: ['admin'] })).key,
      )
    const own = await keyOf('production')
    const none = { app_id: undefined }
    expect((await list('block', 'country', 'BJ', none, await keyOf('staging'))).status).toBe(403)
    expect((await list('block', 'country', 'BJ', { app_id: 'other' }, own)).status).toBe(404)
    const entry = await listed('block', 'country', 'BJ', none, own)
    expect((await clientOf(system, system.otherKey).send('+2290190011234')).status).toBe(200)
    const others = await listed('block', 'country', 'BJ', { app_id: 'other' })
    expect((await own.call('DELETE', `/admin/lists/${others.entry_id}`)).status).toBe(404)
    await Promise.all([remove(entry), remove(others)])
  })

  test('an erasure takes a number off the lists, but not what operators block', async () => {
    const phone = freshPhone()
    const kept = await listed('block', 'phone_number', phone, { app_id: undefined })
    await listed('block', 'phone_number', phone)
    await operator.call('POST', '/admin/erasures', { phone_number: phone })
    const left = await system.db.many<{ id: string }>(sql`select id from list_entries
      where index in ${keptIndexes(system.keyring, [
        keptAs.listEntry('app', 'phone_number', phone),
        keptAs.listEntry(null, 'phone_number', phone),
      ])}`)
    expect(left).toEqual([{ id: kept.entry_id }])
    expect(await statusOf(phone)).toBe(403)
    await remove(kept)
  })

  test('a prefix that is a whole number is treated as one', async () => {
    const phone = freshPhone()
    const entry = await listed('block', 'prefix', phone)
    expect(entry.value).toBe(`${phone.slice(0, 9)}****`)
    expect(await statusOf(phone)).toBe(403)
    await operator.call('POST', '/admin/erasures', { phone_number: phone })
    expect(await statusOf(phone)).toBe(200)
  })

  test('nothing is in clear in the table, and keys can be replaced', async () => {
    const phone = freshPhone()
    await listed('block', 'phone_number', phone, { note: 'seen on 3 May' })
    await operator.call('POST', '/admin/test-numbers', {
      app_id: 'app',
      phone_number: phone,
      code: '246810',
    })
    const rows = await system.db.many(sql`select * from list_entries`)
    const dump = JSON.stringify(rows)
    for (const secret of [phone.slice(1), 'seen on']) expect(dump).not.toContain(secret)
    addKeys(system.keysFile, ['phones', 'app_index'])
    const keyring = openKeyFile(system.keysFile, { strict: true, settleMs: 0 })
    const older = async () =>
      (await keyUses(system.db, [])).filter(
        ({ purpose, kid }) => purpose !== 'audit' && kid !== keyring.active(purpose).kid,
      )
    expect((await older()).map(({ what }) => what)).toEqual(
      expect.arrayContaining(['entries of lists', 'test numbers']),
    )
    const { left, stuck } = await reencrypt(system.db, keyring, { batch: 2 })
    expect({ left, stuck }).toEqual({ left: 0, stuck: [] })
    expect((await older()).filter(({ purpose }) => purpose !== 'codes')).toEqual([])
    const entries = await readListEntries(system.db, keyring, { appId: 'app', limit: 100 })
    expect(entries).toContainEqual(expect.objectContaining({ value: phone, note: 'seen on 3 May' }))
    expect(await readTestNumbers(system.db, keyring, 'app')).toContainEqual(
      expect.objectContaining({ phoneNumber: phone, code: '246810' }),
    )
    // A process that has not read the new key yet puts its entry in the place of the one under it.
    const again = await putListEntry(system.db, keyring, {
      appId: 'app',
      kind: 'phone_number',
      value: phone,
      length: 0,
      verdict: 'allow',
      actor: 'test',
    })
    expect(again).toMatchObject({ verdict: 'allow' })
    const same = await readListEntries(system.db, keyring, { appId: 'app', limit: 100 })
    expect(same.filter(({ value }) => value === phone)).toHaveLength(1)
    keyring.close()
  })
})
