import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { keyUses } from '../../db/upkeep/key-use'
import { putHook, readHooks } from '../../db/apps/pre-send-hooks'
import { placeInBlock } from '../../codes/scope-digest'
import { openKeyFile } from '../../codes/key-file'
import { eraseRecipient } from '../../db/recipients/erasure'
import { retire } from '../../db/upkeep/retention'
import { usualRetention } from '../../core/recipients/retention'
import { dumpPostgres, findLeaks } from '../harness/leaks'
import { requestsOnly } from '../harness/requests'
import { sendInput, tempKeyFile } from '../harness/seed'

let requests: Awaited<ReturnType<typeof requestsOnly>>
const keyring = openKeyFile(tempKeyFile(), { strict: true })
beforeAll(async () => {
  requests = await requestsOnly(keyring)
})
afterAll(() => requests.close())

const guarded = { ...sendInput().protection, ip: 'ab'.repeat(16) }
const open = (number: string) =>
  requests.open({ recipient: { kind: 'phone', value: number }, protection: guarded })
const rows = (table: string) =>
  requests.db.many<{ name: string; text: string }>(
    sql`select to_jsonb(t) ->> 'name' as name, t::text as text from ${sql.identifier(table)} t`,
  )
const run = async () => {
  for await (const _ of retire(requests.db, usualRetention)) void _
}

describe('what protection keeps', () => {
  test('holds no number, as it is or in any digest of it', async () => {
    const number = '+233241237788'
    await open(number)
    const places = await dumpPostgres(requests.url)
    const kept = places.filter(({ name }) => /\.send_(decisions|standings|blocks)\./.test(name))
    expect(kept.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['public.send_decisions.scopes', 'public.send_standings.name']),
    )
    expect(findLeaks(kept, [number.slice(1), number.slice(-9), number.slice(4)])).toEqual([])
    // The scanner finds one that is there.
    expect(findLeaks([...kept, { name: 'planted', text: `x${number}` }], [number])).toEqual([
      'planted',
    ])
  })

  test('an erasure takes away whose sends they were, and where the number lies in its block', async () => {
    const number = '+233246001234'
    const neighbour = '+233246004321'
    const { requestId } = await open(number)
    await open(neighbour)
    const place = placeInBlock(keyring, number)
    const block = () =>
      requests.db.one<{ places: number[] }>(
        sql`select places from send_standings where name = 'staging|app|block|+23324600'`,
      )
    expect((await block())?.places).toContain(place)
    const recipient = await requests.db.one<{ id: string }>(
      sql`select recipient_id as id from otp_requests where id = ${requestId}`,
    )
    await requests.db.many(
      sql`insert into recipient_verifications values (${recipient?.id}, 'staging', now())`,
    )
    const actor = 'test'
    await eraseRecipient(requests.db, keyring, { kind: 'phone', value: number, actor })
    expect((await block())?.places).toEqual([placeInBlock(keyring, neighbour)])
    const decisions = await requests.db.many(sql`select recipient_id as recipient, scopes, place
      from send_decisions where request_id = ${requestId}`)
    expect(decisions).toEqual(decisions.map(() => ({ recipient: null, scopes: null, place: null })))
    expect(decisions.length).toBeGreaterThan(0)
    const row = await requests.db.one(
      sql`select from recipient_verifications where recipient_id = ${recipient?.id}`,
    )
    expect(row).toBeUndefined()
    // Their neighbour's decision is as it was.
    const left = await requests.db.one<{ n: number }>(
      sql`select count(*)::int as n from send_decisions where place = ${placeInBlock(keyring, neighbour)}`,
    )
    expect(left?.n).toBe(1)
  })

  test('decisions go with events', async () => {
    const old = (await open('+233247000001')).requestId
    const young = (await open('+233247000002')).requestId
    const age = (id: string, days: number) =>
      requests.db.many(sql`update send_decisions set at = now() - make_interval(days => ${days})
        where request_id = ${id}`)
    await age(old, usualRetention.events + 1)
    await age(young, usualRetention.events - 1)
    await run()
    const left = await requests.db.many<{ id: string }>(
      sql`select request_id as id from send_decisions where request_id in (${old}, ${young})`,
    )
    expect(left).toEqual([{ id: young }])
  })

  test('counts go when they have faded, or nobody was sent to for 90 days', async () => {
    await requests.db.many(sql`
      insert into send_standings (name, at, pending, failed, passed_ever)
      select name, date_part('epoch', now() - make_interval(hours => hours)), pending, failed, ever
      from (values ('fresh', 0, 0, 0, 0), ('fading', 2, 0, 5, 0), ('faded', 24 * 8, 9, 5, 0),
        ('known', 24 * 60, 0, 0, 50), ('long ago', 24 * 91, 0, 0, 5000)) as t (name, hours, pending, failed, ever)`)
    await run()
    const names = (await rows('send_standings')).map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['fresh', 'fading', 'known']))
    expect(names).not.toContain('faded')
    expect(names).not.toContain('long ago')
  })

  test('blocks go 30 days after they ended; those until lifted stay', async () => {
    await requests.db.many(sql`
      insert into send_blocks (id, name, app_id, environment, scope, rule, asks, level, since, until, lifted_at)
      select name, name, 'app', 'staging', 'block', 'by_hand', 'block', 1, now() - interval '60 days', until, lifted
      from (values ('ended', now() - interval '31 days', null), ('of late', now() - interval '29 days', null),
        ('for good', 'infinity', null), ('lifted', 'infinity', now() - interval '31 days'),
        ('lifted of late', 'infinity', now() - interval '1 day')) as t (name, until, lifted)`)
    await run()
    const names = (await rows('send_blocks')).map(({ name }) => name).sort()
    expect(names).toEqual(['for good', 'lifted of late', 'of late'])
  })
})

test('a hook’s secrets count among what needs a key', async () => {
  const hook = { appId: 'app', url: 'https://shop.example/', onFailure: 'allow' as const }
  await putHook(requests.db, keyring, { ...hook, secret: 'whsec_YWJj', actor: 'test' })
  const uses = await keyUses(requests.db, [])
  expect(uses).toContainEqual(
    expect.objectContaining({ purpose: 'phones', what: 'secrets of pre-send hooks', rows: 1 }),
  )
  const known = await readHooks(requests.db, keyring)
  expect(known.get('app')?.secrets()).toEqual(['whsec_YWJj'])
})
