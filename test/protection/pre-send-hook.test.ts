import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { clientOf, freshPhone } from '../harness/client'
import { type Hooked, hookPath, inWords, says, startHooked } from '../harness/hooked-apps'
import { publishableKeyOf, visitorsOf } from '../harness/visitor'

let hooked: Hooked
beforeAll(async () => void (hooked = await startHooked()))
afterAll(() => hooked.stop())
beforeEach(() => hooked.allowAll())

const appWithHook: Hooked['appWithHook'] = (given) => hooked.appWithHook(given)
const decisionsOf = (app: string) =>
  hooked.system.db
    .many(sql`select verdict, findings -> 0 ->> 'rule' as rule, recipient_id as recipient
    from send_decisions where app_id = ${app} and verdict <> 'allowed' order by id`)

describe('a pre-send hook', () => {
  test('is told all that it needs of a send, signed, and its word counts', async () => {
    const { app, client, secret, calls } = await appWithHook()
    const phone = freshPhone()
    const id = await client.sent(phone, {
      channels: ['sms', 'voice'],
      purpose: 'login',
      risk: 'high',
      ip_address: '8.8.8.8',
      metadata: { order: '17' },
    })
    const [call] = calls()
    expect(call?.body).toEqual({
      type: 'pre_send',
      request_id: id,
      app_id: app,
      environment: 'staging',
      publishable: false,
      phone_number: phone,
      country: 'GH',
      channels: ['sms', 'voice'],
      locale: 'en-GH',
      purpose: 'login',
      risk: 'high',
      ip_address: '8.8.8.8',
      metadata: { order: '17' },
      timestamp: expect.stringMatching(/^20.*Z$/),
    })
    const { raw = '', headers = {} } = call ?? {}
    const given = headers as Record<string, string>
    expect(new Webhook(secret).verify(raw, given)).toMatchObject({ request_id: id })
    expect(() => new Webhook(secret).verify(raw.replace(phone, freshPhone()), given)).toThrow()
  })

  test('denies: the app is told why, a page is not, and nothing is left of the recipient', async () => {
    const { app, client } = await appWithHook()
    hooked.receiver.answer(() => says({ action: 'deny', reason: 'not a customer' }))
    const refused = await client.send(freshPhone())
    expect(inWords(refused)).toBe('403 BLOCKED')
    expect(refused.body).toMatchObject({ message: expect.stringContaining('not a customer') })
    const page = visitorsOf(hooked.system, await publishableKeyOf(hooked.system, app))()
    const stranger = await page.send(freshPhone())
    expect(inWords(stranger)).toBe('403 BLOCKED')
    expect(JSON.stringify(stranger.body)).not.toMatch(/customer|hook/)
    const { count } = (await hooked.system.db.one<{ count: number }>(
      sql`select count(*)::int from recipients where app_id = ${app}`,
    )) ?? { count: -1 }
    expect(count).toBe(0)
    expect(await decisionsOf(app)).toEqual(
      Array.from({ length: 2 }, () => ({
        verdict: 'blocked',
        rule: 'pre_send_hook',
        recipient: null,
      })),
    )
  })

  test('alters channels, locale and risk, as the caller itself could have', async () => {
    const { client } = await appWithHook()
    hooked.receiver.answer(() =>
      says({ action: 'alter', channels: ['voice'], locale: 'fr', risk: 'high' }),
    )
    const { body } = await client.send(freshPhone(), { channel: 'sms', expiry_seconds: 300 })
    expect(body.channel).toBe('voice')
    const status = await client.status(body.request_id)
    expect(status.steps.map(({ channel }) => channel)).toEqual(['voice'])
    const row = await hooked.system.db.one(sql`select locale, risk,
      round(extract(epoch from expires_at - created_at))::int as seconds
      from otp_requests where id = ${body.request_id}`)
    expect(row).toEqual({ locale: 'fr', risk: 'high', seconds: 180 })
  })

  test('changes only what it names', async () => {
    const { client } = await appWithHook()
    hooked.receiver.answer(() => says({ action: 'alter', locale: 'fr' }))
    const given = { channels: ['voice', 'sms'], risk: 'high' }
    const id = await client.sent(freshPhone(), given)
    expect((await client.status(id)).steps.map(({ channel }) => channel)).toEqual(['voice', 'sms'])
    expect(
      await hooked.system.db.one(sql`select locale, risk from otp_requests where id = ${id}`),
    ).toEqual({
      locale: 'fr',
      risk: 'high',
    })
  })

  test('asks for a challenge, which whoever solved one has passed', async () => {
    const { app, client } = await appWithHook()
    hooked.receiver.answer(() => says({ action: 'allow', challenge: true }))
    const refused = await client.send(freshPhone())
    expect(inWords(refused)).toBe('403 CHALLENGE_REQUIRED')
    expect(refused.body).toMatchObject({ action: 'solve_challenge' })
    const page = visitorsOf(hooked.system, await publishableKeyOf(hooked.system, app))()
    expect((await page.send(freshPhone())).status).toBe(200)
  })

  test('is not asked again about a send that is made again', async () => {
    const { client, calls } = await appWithHook()
    const phone = freshPhone()
    const again = () => client.send(phone, {}, { 'idempotency-key': 'once' })
    const first = await again()
    hooked.receiver.answer(() => says({ action: 'deny' }))
    const second = await again()
    expect(second.body.request_id).toBe(first.body.request_id)
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(calls()).toHaveLength(1)
    // What was denied was never sent: it may be tried again under its key.
    const other = () => client.send(freshPhone(), {}, { 'idempotency-key': 'twice' })
    expect(inWords(await other())).toBe('403 BLOCKED')
    hooked.receiver.answer(() => says({ action: 'allow' }))
    expect((await other()).status).toBe(200)
  })

  test('is not asked about what a limit refuses', async () => {
    const { client, calls } = await appWithHook()
    const phone = freshPhone()
    const answers = []
    for (let i = 0; i < 40; i++) answers.push(inWords(await client.send(phone)))
    expect(answers).toEqual([
      ...Array.from({ length: 3 }, () => '200'),
      ...Array.from({ length: 37 }, () => '429 RATE_LIMITED'),
    ])
    expect(calls()).toHaveLength(3)
    const refused = await client.send(phone)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(1)
  })

  test('is not asked about what the budget has no room for', async () => {
    const { app, client, calls } = await appWithHook()
    const { policy } = hooked.system
    policy.costs = { currency: 'USD', prices: [{ channel: 'sms', amount: '0.03' }] }
    policy.protection.overrides = [{ name: app, when: { apps: [app] }, budget: { day: '0.02' } }]
    const refused = await client.send(freshPhone(), { channels: ['sms'] })
    expect(inWords(refused)).toBe('429 BUDGET_EXCEEDED')
    expect(calls()).toEqual([])
    delete policy.costs
    delete policy.protection.overrides
  })

  test('is not asked about what cannot be sent anyway', async () => {
    const { app, client, calls } = await appWithHook()
    const page = visitorsOf(hooked.system, await publishableKeyOf(hooked.system, app))()
    const madeUp = await page.send(freshPhone(), { challenge: 'made up' })
    expect(inWords(madeUp)).toBe('403 INVALID_CHALLENGE')
    expect((await client.send('+2332')).status).toBe(400)
    expect((await client.send(freshPhone(), { channels: ['email'] })).status).toBe(400)
    expect(calls()).toEqual([])
  })

  test('many sends at once: each is told its own answer, or that there was none in time', async () => {
    const { client } = await appWithHook({ on_failure: 'challenge' })
    await client.send(freshPhone())
    const isOdd = (phone: unknown) => Number(String(phone).slice(-1)) % 2 === 1
    hooked.receiver.answer(({ body }) =>
      says({ action: isOdd(body.phone_number) ? 'deny' : 'allow' }),
    )
    const phones = Array.from({ length: 6 }, () => freshPhone())
    const answers = await Promise.all(phones.map((phone) => client.send(phone)))
    const own = phones.map((phone) => (isOdd(phone) ? '403 BLOCKED' : '200'))
    const late = ['403 CHALLENGE_REQUIRED', '429 OVERLOADED']
    for (const [n, outcome] of answers.map(inWords).entries())
      expect([own[n], ...late]).toContain(outcome)
    expect(answers.map(inWords).filter((outcome) => !late.includes(outcome))).not.toEqual([])
  })
})

describe('its registration', () => {
  test('shows the secret once; a rotation has both sign', async () => {
    const { app, client, secret, calls } = await appWithHook()
    const at = `${hookPath}?app_id=${app}`
    expect((await hooked.operator.call('GET', at)).body).toEqual({
      app_id: app,
      url: `${hooked.receiver.url}/${app}`,
      on_failure: 'allow',
      changed_at: expect.any(String),
    })
    const change = { app_id: app, url: `${hooked.receiver.url}/${app}`, on_failure: 'deny' }
    const changed = await hooked.operator.call('PUT', hookPath, change)
    expect(changed.body).not.toHaveProperty('secret')
    expect(changed.body).toMatchObject({ on_failure: 'deny' })
    const rotated = await hooked.operator.call<{ secret: string }>(
      'POST',
      `${hookPath}/rotate-secret`,
      {
        app_id: app,
      },
    )
    await client.sent(freshPhone())
    const [call] = calls()
    const headers = call?.headers as Record<string, string>
    for (const known of [secret, rotated.body.secret])
      expect(() => new Webhook(known).verify(call?.raw ?? '', headers)).not.toThrow()
    const row = await hooked.system.db.one<{ text: string }>(
      sql`select pre_send_hooks::text as text from pre_send_hooks where app_id = ${app}`,
    )
    for (const known of [secret, rotated.body.secret]) {
      expect(row?.text).not.toContain(known.slice(6))
      expect(row?.text).not.toContain(Buffer.from(known).toString('hex'))
    }
    expect((await hooked.operator.call('DELETE', at)).body).toEqual({ removed: true })
    expect((await hooked.operator.call('DELETE', at)).body).toEqual({ removed: false })
    expect((await hooked.operator.call('GET', at)).status).toBe(404)
    expect(
      (await hooked.operator.call('POST', `${hookPath}/rotate-secret`, { app_id: app })).status,
    ).toBe(404)
    await client.sent(freshPhone())
    expect(calls()).toHaveLength(1)
    const written = await hooked.system.db.many<{ detail: { changed: string } }>(sql`
      select detail from audit_events where app_id = ${app} and type::text = 'hook_changed' order by id`)
    expect(written.map(({ detail }) => detail.changed)).toEqual([
      'url on_failure',
      'url on_failure',
      'secret',
      'removed',
    ])
  })

  test('is for the app’s live keys and for operators', async () => {
    const { app, keyFor } = await appWithHook()
    const own = clientOf(hooked.system, await keyFor('production', ['admin']))
    expect((await own.call('GET', hookPath)).body).toMatchObject({ app_id: app })
    const testKey = clientOf(hooked.system, await keyFor('staging', ['admin']))
    const body = { url: `${hooked.receiver.url}/mine`, on_failure: 'allow' }
    expect(inWords(await testKey.call('PUT', hookPath, body))).toBe('403 FORBIDDEN')
    expect(inWords(await testKey.call('DELETE', hookPath))).toBe('403 FORBIDDEN')
    expect(inWords(await testKey.call('POST', `${hookPath}/rotate-secret`))).toBe('403 FORBIDDEN')
    expect(inWords(await own.call('PUT', hookPath, { ...body, app_id: 'other' }))).toBe(
      '404 NOT_FOUND',
    )
    expect(inWords(await hooked.operator.call('PUT', hookPath, body))).toBe('400 INVALID_REQUEST')
    for (const wrong of [{ url: 'x' }, { on_failure: 'ignore' }, { secret: 'whsec_mine' }])
      expect(inWords(await own.call('PUT', hookPath, { ...body, ...wrong }))).toBe(
        '400 INVALID_REQUEST',
      )
    expect(inWords(await own.call('PUT', hookPath, { ...body, url: 'http://10.0.0.1/' }))).toBe(
      '400 INVALID_ENDPOINT',
    )
  })

  test('test keys and live keys are both asked about, and told apart', async () => {
    const { keyFor, client, calls } = await appWithHook()
    await client.sent(freshPhone())
    const live = clientOf(hooked.system, await keyFor('production'))
    // No account of the shipped policy reaches anybody for a live key here: it is refused before the hook.
    expect((await live.send(freshPhone())).status).toBe(400)
    expect(calls().map(({ body }) => body.environment)).toEqual(['staging'])
  })
})
