import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { type KeyAnswer, MadeKeyAnswer } from '../../api/contract/admin'
import { makeApiKey } from '../../codes/api-key'
import { rotateKey } from '../../db/apps/api-keys'
import { type Administered, startAdministered } from '../harness/administered'
import { clientOf } from '../harness/client'

let system: Administered['system']
let operator: Administered['operator']
let ofApp: Administered['ofApp']
let ofAppTest: Administered['ofAppTest']
let keyBody: Administered['keyBody']
let makeKey: Administered['makeKey']
let trail: Administered['trail']
let faults: Administered['faults']

beforeAll(async () => {
  ;({ system, operator, ofApp, ofAppTest, keyBody, makeKey, trail, faults } =
    await startAdministered())
})
afterAll(() => system.stop())

const works = async (key: string) =>
  (await clientOf(system, key).call('POST', '/otp/search', {})).status === 200

test('keys are shown once; no view and no row holds more than a digest', async () => {
  const made = await makeKey({ name: 'checkout', expires_in_days: 30, requests_per_minute: 60 })
  expect(MadeKeyAnswer.parse(made)).toMatchObject({
    ...{ app_id: 'app', name: 'checkout', environment: 'staging', publishable: false },
    ...{ state: 'active', requests_per_minute: 60, replaces: null, revoked_at: null },
    scopes: ['send', 'verify', 'read'],
  })
  expect(made.key).toMatch(new RegExp(`^otpk_test_${made.key_id}_`))
  const days = (Date.parse(made.expires_at ?? '') - Date.parse(made.created_at)) / 86_400_000
  expect(days).toBeCloseTo(30, 6)
  expect(await works(made.key)).toBe(true)

  const { key, ...view } = made
  const read = await operator.call<KeyAnswer>('GET', `/admin/keys/${made.key_id}`)
  expect({ ...read.body, last_used_at: null }).toEqual(view)
  const secret = key.slice(-38)
  const rows = await system.db.many(sql`select to_jsonb(k)::text as row from api_keys k`)
  expect(JSON.stringify([rows, read.body, await trail('app', 100)])).not.toContain(
    secret.slice(0, 20),
  )
  expect(await trail('app', 1)).toMatchObject([
    { type: 'key_created', detail: { key_id: made.key_id, scopes: 'send verify read' } },
  ])
})

test('an operator’s key has a prefix of its own, whatever its environment; older ones go on', async () => {
  for (const environment of ['production', 'staging'] as const) {
    const wish = { ...keyBody, app_id: null, environment, scopes: ['admin'] }
    const { key, key_id } = await makeKey(wish)
    expect(key).toMatch(/^otpk_operator_/)
    expect((await clientOf(system, key).call('GET', '/admin/apps')).status).toBe(200)
    const rotated = await operator.call('POST', `/admin/keys/${key_id}/rotate`)
    expect(rotated.body.key).toMatch(/^otpk_operator_/)
  }
  // As the version before made them.
  const { key, id, digest } = makeApiKey({ appId: 'any', environment: 'staging' })
  await system.db.many(sql`insert into api_keys (id, app_id, digest, environment, scopes)
    values (${id}, null, ${digest}, 'staging', '{admin}')`)
  expect((await clientOf(system, key).call('GET', '/admin/apps')).status).toBe(200)
  const { body } = await operator.call('POST', `/admin/keys/${id}/rotate`)
  expect(body.key).toMatch(/^otpk_operator_/)
})

test('a live key is made by an operator, or by a live key of the app', async () => {
  for (const by of [operator, ofApp])
    expect((await makeKey({ environment: 'production' }, by)).key).toMatch(/^otpk_live_/)
  expect(
    (await ofAppTest.call('POST', '/admin/keys', { ...keyBody, environment: 'production' })).body,
  ).toMatchObject({ status: 403, error_code: 'FORBIDDEN' })
  const { key_id, key } = await makeKey({ environment: 'production' })
  for (const [method, path] of [
    ['DELETE', `/admin/keys/${key_id}`],
    ['POST', `/admin/keys/${key_id}/rotate`],
  ] as const)
    expect((await ofAppTest.call(method, path)).body).toMatchObject({ error_code: 'FORBIDDEN' })
  expect(await works(key)).toBe(true)
  expect((await makeKey({ environment: 'development', app_id: undefined }, ofAppTest)).app_id).toBe(
    'app',
  )
})

test('an operator’s key is made by an operator, with the scope admin alone', async () => {
  const body = { app_id: null, environment: 'production', scopes: ['admin'] }
  expect((await ofApp.call('POST', '/admin/keys', body)).body).toMatchObject({
    error_code: 'FORBIDDEN',
  })
  const made = await makeKey(body)
  expect(made.app_id).toBeNull()
  expect((await clientOf(system, made.key).call('GET', '/admin/apps/other')).status).toBe(200)
  expect(await trail(null, 1)).toMatchObject([
    { type: 'key_created', detail: { key_id: made.key_id, scopes: 'admin' } },
  ])
  // Not for an app to see, nor to end.
  for (const method of ['GET', 'DELETE'])
    expect((await ofApp.call(method, `/admin/keys/${made.key_id}`)).status).toBe(404)
  const revoked = await operator.call<KeyAnswer>('DELETE', `/admin/keys/${made.key_id}`)
  expect(revoked.body.state).toBe('revoked')
})

test('what keys cannot be is refused with the fields at fault', async () => {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString()
  const year = 365 * 86_400_000
  const cases: [object, string[]][] = [
    [{ environment: 'live' }, ['environment']],
    [{ environment: undefined }, ['environment']],
    [{ scopes: [] }, ['scopes']],
    [{ scopes: ['send', 'send'] }, ['scopes']],
    [{ scopes: ['send', 'root'] }, ['scopes[1]']],
    [{ scopes: ['send', 'read'], publishable: true }, ['scopes']],
    [{ app_id: null }, ['scopes']],
    [{ app_id: null, scopes: ['admin'], publishable: true }, ['scopes', 'scopes']],
    [{ app_id: undefined }, ['app_id']],
    [{ expires_in_days: 0 }, ['expires_in_days']],
    [{ expires_in_days: 1, expires_at: at(year) }, ['expires_at']],
    [{ expires_at: at(-1000) }, ['expires_at']],
    [{ expires_at: at(11 * year) }, ['expires_at']],
    [{ expires_at: '2027-02-31T00:00:00Z' }, ['expires_at']],
    [{ requests_per_minute: 0 }, ['requests_per_minute']],
    [{ name: 'a\u0000b' }, ['name']],
    [{ digest: 'x' }, ['digest']],
  ]
  for (const [given, fields] of cases) {
    const body = { ...keyBody, ...given }
    expect([given, await faults('POST', '/admin/keys', body)]).toEqual([given, fields])
  }
  expect(
    (await operator.call('POST', '/admin/keys', { ...keyBody, app_id: 'nobody' })).status,
  ).toBe(404)
  const { key_id } = await makeKey()
  const rotate = `/admin/keys/${key_id}/rotate`
  expect(await faults('POST', rotate, { overlap_seconds: -1 })).toEqual(['overlap_seconds'])
  expect(await faults('GET', '/admin/keys?state=dead', undefined)).toEqual(['state'])
  expect(await faults('GET', '/admin/keys?cursor=%00', undefined)).toEqual(['cursor'])
  expect(await faults('GET', '/admin/keys?limit=0', undefined)).toEqual(['limit'])
  for (const id of ['aaaaaaaaaaaa', '%00', 'x'.repeat(300)])
    expect((await operator.call('GET', `/admin/keys/${id}`)).status).toBe(404)
})

test('keys are listed newest first, by app and state, page by page', async () => {
  await operator.call('POST', '/admin/apps', { app_id: 'many', name: 'Many' })
  const made: string[] = []
  for (let i = 0; i < 5; i++) made.unshift((await makeKey({ app_id: 'many' })).key_id)
  await operator.call('DELETE', `/admin/keys/${made[1]}`)
  await system.db.many(sql`update api_keys set expires_at = now() where id = ${made[2]}`)
  const list = async (query: string) => {
    const ids: string[] = []
    let cursor = ''
    do {
      const { body } = await operator.call<{ keys: KeyAnswer[]; next_cursor: string | null }>(
        'GET',
        `/admin/keys?app_id=many&limit=2${query}${cursor && `&cursor=${cursor}`}`,
      )
      ids.push(...body.keys.map(({ key_id }) => key_id))
      cursor = body.next_cursor ?? ''
    } while (cursor)
    return ids
  }
  expect(await list('')).toEqual(made)
  expect(await list('&state=active')).toEqual([made[0], made[3], made[4]])
  expect(await list('&state=revoked')).toEqual([made[1]])
  expect(await list('&state=expired')).toEqual([made[2]])
  const own = await ofApp.call<{ keys: KeyAnswer[] }>('GET', '/admin/keys?limit=100')
  expect(new Set(own.body.keys.map(({ app_id }) => app_id))).toEqual(new Set(['app']))
  const all = await operator.call<{ keys: KeyAnswer[] }>('GET', '/admin/keys?limit=100')
  expect(new Set(all.body.keys.map(({ app_id }) => app_id)).size).toBeGreaterThan(2)
})

test('a rotation gives a second key with the same rights; a third has to wait', async () => {
  const old = await makeKey({ name: 'till', expires_in_days: 10, requests_per_minute: 77 })
  const rotate = (id: string, body?: object) =>
    operator.call<MadeKeyAnswer & { error_code?: string }>('POST', `/admin/keys/${id}/rotate`, body)
  const { status, body: next } = await rotate(old.key_id, { overlap_seconds: 3600 })
  expect(status).toBe(200)
  const same = ({
    app_id,
    name,
    environment,
    scopes,
    publishable,
    requests_per_minute,
  }: KeyAnswer) => ({
    ...{ app_id, name, environment, scopes, publishable, requests_per_minute },
  })
  expect(same(next)).toEqual(same(old))
  expect(next).toMatchObject({ replaces: old.key_id, state: 'active' })
  const life = (key: KeyAnswer) => Date.parse(key.expires_at ?? '') - Date.parse(key.created_at)
  expect(Math.abs(life(next) - life(old))).toBeLessThan(2)
  expect([await works(old.key), await works(next.key)]).toEqual([true, true])
  const { body: ending } = await operator.call<KeyAnswer>('GET', `/admin/keys/${old.key_id}`)
  expect(Date.parse(ending.expires_at ?? '') - Date.parse(next.created_at)).toBe(3_600_000)

  for (const id of [old.key_id, next.key_id])
    expect((await rotate(id)).body).toMatchObject({ status: 409, error_code: 'TOO_MANY_KEYS' })
  await operator.call('DELETE', `/admin/keys/${old.key_id}`)
  expect((await rotate(old.key_id)).body).toMatchObject({ error_code: 'KEY_ENDED' })
  expect((await rotate(next.key_id, { overlap_seconds: 0 })).status).toBe(200)
  expect((await operator.call('GET', `/admin/keys/${next.key_id}`)).body).toMatchObject({
    state: 'expired',
  })
  expect(await trail('app', 1)).toMatchObject([
    { type: 'key_rotated', detail: { replaces: next.key_id, overlap_seconds: 0 } },
  ])
})

test('an overlap never makes a key live longer than it was made to', async () => {
  const old = await makeKey({ expires_in_days: 1 })
  await operator.call('POST', `/admin/keys/${old.key_id}/rotate`, { overlap_seconds: 2_592_000 })
  const { body } = await operator.call('GET', `/admin/keys/${old.key_id}`)
  expect(body.expires_at).toBe(old.expires_at)
})

test('a second rotation, after the key of the first was revoked, gives the life that the key was made for', async () => {
  for (const days of [100, undefined]) {
    const old = await makeKey({ expires_in_days: days })
    const rotated = async () => {
      const path = `/admin/keys/${old.key_id}/rotate`
      const { body } = await operator.call<MadeKeyAnswer>('POST', path, { overlap_seconds: 3600 })
      return body
    }
    const life = ({ expires_at, created_at }: KeyAnswer) =>
      expires_at && Math.round((Date.parse(expires_at) - Date.parse(created_at)) / 86_400_000)
    const wanted = days ?? null
    for (let round = 0; round < 3; round++) {
      const next = await rotated()
      expect([round, life(next)]).toEqual([round, wanted])
      await operator.call('DELETE', `/admin/keys/${next.key_id}`)
    }
    // Down another branch of the line too.
    const second = await rotated()
    const { body: third } = await operator.call<MadeKeyAnswer>(
      'POST',
      `/admin/keys/${second.key_id}/rotate`,
    )
    expect(third).toMatchObject({ error_code: 'TOO_MANY_KEYS' })
    const { body: ended } = await operator.call<KeyAnswer>('GET', `/admin/keys/${old.key_id}`)
    expect(Date.parse(ended.expires_at ?? '') - Date.now()).toBeLessThan(3_600_001)
  }
})

test('20 rotations at once make one key', async () => {
  for (let round = 0; round < 5; round++) {
    const { key_id } = await makeKey()
    // Below HTTP, so that they do meet; the pool's connections are all open after the first round.
    const made = await Promise.all(
      Array.from({ length: 20 }, () => rotateKey(system.db, key_id, { overlapSeconds: 60 })),
    )
    expect(made.filter((one) => typeof one === 'object')).toHaveLength(1)
    expect(made.filter((one) => one === 'too_many')).toHaveLength(19)
    expect(
      await system.db.one(sql`select count(*)::int as n from api_keys where replaces = ${key_id}`),
    ).toEqual({ n: 1 })
  }
})

test('revoking again changes nothing, and is not written down again', async () => {
  const { key_id } = await makeKey()
  const first = await operator.call('DELETE', `/admin/keys/${key_id}`)
  expect(first).toMatchObject({ status: 200, body: { state: 'revoked' } })
  expect((await operator.call('DELETE', `/admin/keys/${key_id}`)).body).toEqual(first.body)
  const written = await trail('app', 1000)
  const about = written.filter(({ detail }) => 'key_id' in detail && detail.key_id === key_id)
  expect(about.map(({ type }) => type)).toEqual(['key_revoked', 'key_created'])
})
