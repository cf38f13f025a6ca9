import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { pagesOf, wrongFor } from '../harness/pages'
import { type Receiver, startReceiver } from '../harness/receiver'
import { startSystem, type System } from '../harness/system'
import { shown } from '../harness/visitor'

let system: System
let operator: TestClient
let pages: Awaited<ReturnType<typeof pagesOf>>
let receiver: Receiver

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  operator = clientOf(system, system.operatorKey)
  pages = await pagesOf(system)
  receiver = await startReceiver()
  await operator.call('POST', '/admin/event-endpoints', {
    app_id: 'app',
    environment: 'staging',
    url: `${receiver.url}/events`,
  })
})
afterAll(async () => {
  await receiver?.close()
  await system?.stop()
})

const visitor: typeof pages.visitor = (...given) => pages.visitor(...given)
const codeFor: typeof pages.codeFor = (...given) => pages.codeFor(...given)
const sendFrom: typeof pages.sendFrom = (...given) => pages.sendFrom(...given)
const check: typeof pages.check = (...given) => pages.check(...given)
const view: typeof pages.view = (...given) => pages.view(...given)
const sharedBy: typeof pages.sharedBy = (...given) => pages.sharedBy(...given)

describe('the id of a page', () => {
  test('is taken by every call of the back end', async () => {
    const phone = freshPhone()
    const { id } = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    const call = (command: string, body?: object) =>
      pages.backEnd.call('POST', `/otp/${id}/${command}`, body)
    expect(await call('next')).toMatchObject({ status: 200, body: { request_id: id } })
    await system.db.many(sql`delete from send_windows`)
    const resent = await call('resend', { channel: 'whatsapp' })
    expect(resent).toMatchObject({ status: 200, body: { request_id: id, resend: 'sent' } })
    const wrong = await pages.backEnd.verify({ request_id: id, code: wrongFor(code) })
    expect(wrong.body).toMatchObject({ request_id: id, attempts_remaining: 4 })
    expect(await call('cancel')).toMatchObject({ status: 200, body: { request_id: id } })
    expect(await view(id)).toMatchObject({ state: 'cancelled', reason: 'requested' })
    expect(await view(await sharedBy(id))).toMatchObject({ state: 'cancelled' })
    for (const command of ['cancel', 'next', 'resend'])
      expect(shown(await call(command))).toBe('409 REQUEST_ENDED')
  })

  test('cancels what that page began, while another one waits for the code', async () => {
    const phone = freshPhone()
    const owner = await sendFrom(visitor(), phone)
    const stranger = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    const cancelled = await pages.backEnd.call('POST', `/otp/${stranger.id}/cancel`)
    expect(cancelled).toMatchObject({ status: 200, body: { request_id: stranger.id } })
    expect(await view(stranger.id)).toMatchObject({ state: 'cancelled', reason: 'requested' })
    expect(shown(await check(stranger, code))).toBe('200 INVALID_CODE')
    expect(shown(await pages.backEnd.call('POST', `/otp/${stranger.id}/resend`))).toBe(
      '409 REQUEST_ENDED',
    )
    expect(shown(await check(owner, code))).toBe('200 verified')
  })

  test('is not that of the request, which pages cannot check, and events name', async () => {
    const phone = freshPhone()
    const { page, id } = await sendFrom(visitor(), phone)
    const shared = await sharedBy(id)
    const code = await codeFor(phone)
    expect(shown(await page.verify({ request_id: shared, code }))).toBe('200 INVALID_CODE')
    expect(shown(await page.verify({ request_id: id, code }))).toBe('200 verified')
    await until(async () => receiver.of(shared, 'verified')[0])
    expect(receiver.of(id)).toEqual([])
  })

  test('of checks by a secret key leaves the five of the request to themselves', async () => {
    const phone = freshPhone()
    const { id } = await sendFrom(visitor(), phone)
    const shared = await sharedBy(id)
    const code = await codeFor(phone)
    for (let turn = 0; turn < 5; turn++)
      await pages.backEnd.verify({ request_id: id, code: wrongFor(code) })
    expect(shown(await pages.backEnd.verify({ request_id: id, code }))).toBe('429 LOCKED')
    const own = await pages.backEnd.verify({ request_id: shared, code: wrongFor(code) })
    expect(own.body).toMatchObject({ request_id: shared, attempts_remaining: 4 })
    expect(shown(await pages.backEnd.verify({ request_id: shared, code }))).toBe('200 verified')
    expect((await view(id)).state).toBe('locked')
  })

  test('wakes whoever waits for news of it', async () => {
    const phone = freshPhone()
    const owner = await sendFrom(visitor(), phone)
    const stranger = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    await until(async () => (await view(owner.id)).delivered_at)
    const waits = pages.backEnd.call('GET', `/otp/${stranger.id}?wait=20`)
    await check(owner, code)
    expect((await waits).body).toMatchObject({ state: 'cancelled', reason: 'verified_elsewhere' })
  })

  test('is of nobody else: another app, another environment', async () => {
    const { id } = await sendFrom(visitor(), freshPhone())
    for (const key of [system.otherKey, system.liveKey]) {
      const other = clientOf(system, key)
      expect((await other.call('GET', `/otp/${id}`)).status).toBe(404)
      expect((await other.call('POST', `/otp/${id}/cancel`)).status).toBe(404)
      expect((await other.verify({ request_id: id, code: '123456' })).body.error_code).toBe(
        'NO_ACTIVE_REQUEST',
      )
    }
  })

  test('goes with the erasure of its recipient', async () => {
    const phone = freshPhone()
    const { id } = await sendFrom(visitor(), phone)
    const shared = await sharedBy(id)
    expect((await operator.call('POST', '/admin/erasures', { phone_number: phone })).status).toBe(
      200,
    )
    expect((await pages.backEnd.call('GET', `/otp/${id}`)).status).toBe(404)
    expect(
      await system.db.many(sql`select from page_requests where request_id = ${shared}`),
    ).toEqual([])
    expect((await view(shared)).state).toBe('cancelled')
  })
})
