import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { AppAnswer } from '../../api/contract/admin'
import { checkBudget } from '../../core/limits'
import { type Administered, startAdministered } from '../harness/administered'
import { clientOf, freshPhone } from '../harness/client'

let system: Administered['system']
let operator: Administered['operator']
let ofApp: Administered['ofApp']
let ofAppTest: Administered['ofAppTest']
let makeKey: Administered['makeKey']
let trail: Administered['trail']
let faults: Administered['faults']

beforeAll(async () => {
  ;({ system, operator, ofApp, ofAppTest, makeKey, trail, faults } = await startAdministered())
})
afterAll(() => system.stop())

describe('apps', () => {
  test('are made with defaults, read, listed page by page, and changed', async () => {
    const { status, body: made } = await operator.call<AppAnswer>('POST', '/admin/apps', {
      app_id: 'shop',
      name: 'Shop',
    })
    expect(status).toBe(200)
    expect(AppAnswer.parse(made)).toMatchObject({
      ...{ app_id: 'shop', name: 'Shop', brand: 'Shop', default_country: null, region: null },
      ...{ code_length: 6, code_alphabet: 'digits', max_expiry_seconds: 300 },
      ...{ high_risk_expiry_seconds: 180, queue_when_down: false, consent_required: false },
      lengthen_under_guessing: true,
    })
    expect((await operator.call('GET', '/admin/apps/shop')).body).toEqual(made)

    const ids: string[] = []
    let cursor = ''
    do {
      const { body } = await operator.call<{ apps: AppAnswer[]; next_cursor: string | null }>(
        'GET',
        `/admin/apps?limit=2${cursor && `&cursor=${cursor}`}`,
      )
      expect(body.apps.length).toBeLessThanOrEqual(2)
      ids.push(...body.apps.map(({ app_id }) => app_id))
      cursor = body.next_cursor ?? ''
    } while (cursor)
    expect(ids).toEqual(['app', 'other', 'shop'])

    const changes = { default_country: 'GH', code_length: 8, code_alphabet: 'alphanumeric' }
    const changed = await operator.call('PATCH', '/admin/apps/shop', { ...changes, region: null })
    expect(changed).toMatchObject({ status: 200, body: { ...made, ...changes } })
    expect((await operator.call('PATCH', '/admin/apps/shop', {})).body).toEqual(changed.body)
    expect(
      (await operator.call('PATCH', '/admin/apps/shop', { default_country: null })).body,
    ).toMatchObject({ default_country: null })
    const actor = `key:${system.operatorKey.split('_')[2]}`
    expect(await trail('shop', 9)).toMatchObject([
      { type: 'app_changed', actor, detail: { defaultCountry: null } },
      { type: 'app_changed', actor, detail: { codeLength: 8, defaultCountry: 'GH' } },
      { type: 'app_created', actor, detail: { name: 'Shop' } },
    ])
  })

  test('a change holds for the next send', async () => {
    const { body: made } = await operator.call<AppAnswer>('POST', '/admin/apps', {
      ...{ app_id: 'local', name: 'Local', default_country: 'GH', code_length: 9 },
    })
    expect(made.code_length).toBe(9)
    const { key } = await makeKey({ app_id: 'local' })
    const requestId = await clientOf(system, key).sent('024 123 4567')
    expect(
      await system.db.one(sql`select code_length from otp_requests where id = ${requestId}`),
    ).toEqual({ code_length: 9 })
  })

  test('what they cannot be is refused with the fields at fault', async () => {
    const app = { app_id: 'fine', name: 'Fine' }
    const cases: [object, string[]][] = [
      [{ name: 'Nameless' }, ['app_id']],
      [{ ...app, app_id: 'Shop' }, ['app_id']],
      [{ ...app, app_id: '1shop' }, ['app_id']],
      [{ ...app, app_id: 'a'.repeat(41) }, ['app_id']],
      [{ ...app, code_length: 5 }, ['code_length']],
      [{ ...app, code_length: 11, max_expiry_seconds: 601 }, ['code_length', 'max_expiry_seconds']],
      [{ ...app, high_risk_expiry_seconds: 29 }, ['high_risk_expiry_seconds']],
      [{ ...app, default_country: 'XX' }, ['default_country']],
      [{ ...app, default_country: 'gh' }, ['default_country']],
      [{ ...app, brand: 'Acme\u202e' }, ['brand']],
      ...'\t\n\r\u2028\u2029\u061c\u200b\u200c\u200f\u2060\u2064\u00ad\ufeff'
        .split('')
        .map((odd): [object, string[]] => [
          { ...app, name: `Ac${odd}me`, brand: 'Acme' },
          ['name'],
        ]),
      [{ ...app, name: 'x'.repeat(31) }, ['brand']],
      [{ ...app, queue_when_down: 'yes' }, ['queue_when_down']],
      [{ ...app, colour: 'red' }, ['colour']],
    ]
    for (const [body, fields] of cases)
      expect([body, await faults('POST', '/admin/apps', body)]).toEqual([body, fields])
    expect(await faults('PATCH', '/admin/apps/app', { code_alphabet: 'hex' })).toEqual([
      'code_alphabet',
    ])
    expect(await faults('PATCH', '/admin/apps/app', { app_id: 'app' })).toEqual(['app_id'])
    for (const path of ['/admin/apps/nobody', '/admin/apps/%00', `/admin/apps/${'a'.repeat(200)}`])
      expect((await operator.call('GET', path)).body).toMatchObject({ error_code: 'NOT_FOUND' })
    expect(
      (await operator.call('POST', '/admin/apps', { app_id: 'app', name: 'App' })).body,
    ).toMatchObject({
      status: 409,
      error_code: 'ALREADY_EXISTS',
    })
  })

  test('an app’s own key makes none, and does not choose its region', async () => {
    for (const by of [ofApp, ofAppTest]) {
      const made = await by.call('POST', '/admin/apps', { app_id: 'mine', name: 'Mine' })
      expect(made.body).toMatchObject({ status: 403, error_code: 'FORBIDDEN' })
      const moved = await by.call('PATCH', '/admin/apps/app', { region: 'eu' })
      expect(moved.body).toMatchObject({ status: 403, error_code: 'FORBIDDEN' })
      const listed = await by.call<{ apps: AppAnswer[] }>('GET', '/admin/apps')
      expect(listed.body.apps.map(({ app_id }) => app_id)).toEqual(['app'])
    }
    const change = { consent_required: false }
    expect((await ofApp.call('PATCH', '/admin/apps/app', change)).status).toBe(200)
    // One setting holds for every environment.
    const refused = await ofAppTest.call('PATCH', '/admin/apps/app', change)
    expect(refused.body).toMatchObject({ status: 403, error_code: 'FORBIDDEN' })
  })
})

describe('a recipient who is locked out', () => {
  test('checks again once an operator says so; the trail does not say who it is', async () => {
    const phone = freshPhone()
    const client = clientOf(system)
    const requestId = await client.sent(phone)
    const none = await operator.call('POST', '/admin/recipients/unlock', {
      ...{ app_id: 'app', phone_number: freshPhone() },
    })
    expect(none).toMatchObject({ status: 200, body: { unlocked: false } })
    await system.db.many(sql`
      insert into check_budgets (recipient_id, environment, wrong, consecutive)
      select recipient_id, 'staging', '{}', ${checkBudget.consecutive} from otp_requests where id = ${requestId}`)
    const check = () => client.verify({ phone_number: phone, code: '000000' })
    expect((await check()).status).toBe(429)
    const unlocked = await ofApp.call('POST', '/admin/recipients/unlock', { phone_number: phone })
    expect(unlocked).toMatchObject({ status: 200, body: { unlocked: true } })
    expect((await check()).status).toBe(200)
    const [row] = await trail('app', 1)
    expect(row).toMatchObject({ type: 'budget_unlocked', detail: {} })
    expect(JSON.stringify(row)).not.toContain(phone.slice(1))
    const trailBefore = await trail('app', 100)
    const again = await ofApp.call('POST', '/admin/recipients/unlock', { phone_number: phone })
    // One wrong check came after it.
    expect(again.body).toMatchObject({ unlocked: true })
    const idle = await ofApp.call('POST', '/admin/recipients/unlock', { phone_number: phone })
    expect(idle.body).toMatchObject({ unlocked: false })
    expect(await trail('app', 100)).toHaveLength(trailBefore.length + 1)
  })

  test('checks test codes again when a test key says so, and no others', async () => {
    const phone = freshPhone()
    const requestId = await clientOf(system).sent(phone)
    await system.db.many(sql`
      insert into check_budgets (recipient_id, environment, wrong, consecutive)
      select recipient_id, place, '{}', 7 from otp_requests, unnest(enum_range(null::key_environment)) place
      where id = ${requestId}`)
    const unlock = () => ofAppTest.call('POST', '/admin/recipients/unlock', { phone_number: phone })
    expect((await unlock()).body).toMatchObject({ unlocked: true })
    expect(
      await system.db.many(sql`select b.environment from check_budgets b
        join otp_requests r using (recipient_id) where r.id = ${requestId} and consecutive > 0`),
    ).toEqual([{ environment: 'production' }])
    expect((await unlock()).body).toMatchObject({ unlocked: false })
  })

  test('is named like one in a send', async () => {
    const unlock = (body: object) => operator.call('POST', '/admin/recipients/unlock', body)
    const codeOf = async (body: object) => (await unlock(body)).body.error_code
    expect(await codeOf({ phone_number: freshPhone() })).toBe('INVALID_REQUEST')
    expect(await codeOf({ app_id: 'app' })).toBe('INVALID_REQUEST')
    expect(await codeOf({ app_id: 'app', phone_number: '12' })).toBe('INVALID_NUMBER')
    expect(await codeOf({ app_id: 'app', email: 'nobody' })).toBe('INVALID_EMAIL')
    expect(await codeOf({ app_id: 'nobody', email: 'a@example.com' })).toBe('NOT_FOUND')
  })
})
