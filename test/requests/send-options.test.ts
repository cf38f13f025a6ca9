import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { StatusAnswer } from '../../api/contract/status'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { documentedCalls } from '../harness/documented'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let other: TestClient
let call: Awaited<ReturnType<typeof documentedCalls>>

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  other = clientOf(system, system.otherKey)
  call = await documentedCalls(system.url, client)
})
afterAll(() => system.stop())

type Body = Record<string, unknown>

const send = (phone: string, given: Body = {}, headers: Record<string, string> = {}) =>
  call<Body & { request_id: string }>(
    'POST',
    '/otp/send',
    { phone_number: phone, ...given },
    { headers },
  )

describe('preferences', () => {
  test.concurrent(
    'are the first step of sends that name no channel, until they are deleted',
    async () => {
      const phone = freshPhone()
      const lookUp = async (by = client) =>
        (await call('POST', '/preferences/lookup', { phone_number: phone }, { by })).body
      expect(await lookUp()).toEqual({ channel: null })
      const put = { phone_number: phone, channel: 'whatsapp' }
      expect((await call('PUT', '/preferences', put)).body).toEqual({ channel: 'whatsapp' })
      expect(await lookUp()).toEqual({ channel: 'whatsapp' })
      expect(await lookUp(other)).toEqual({ channel: null })

      const { body } = await send(phone)
      expect(body.channel).toBe('whatsapp')
      const { steps } = (await call<StatusAnswer>('GET', `/otp/${body.request_id}`)).body
      expect(steps.map(({ channel }) => channel)).toEqual(['whatsapp', 'sms', 'voice', 'ussd'])
      expect((await send(phone, { purpose: 'named', channel: 'voice' })).body.channel).toBe('voice')

      const erase = async () =>
        (await call('POST', '/preferences/delete', { phone_number: phone })).body
      expect(await erase()).toEqual({ deleted: true })
      expect(await erase()).toEqual({ deleted: false })
      expect((await send(phone, { purpose: 'later' })).body.channel).toBe('sms')
    },
  )
})

describe('Prefer: wait', () => {
  test.concurrent('brings the provider’s acceptance', async () => {
    const { status, headers, body } = await send(freshPhone(), {}, { prefer: 'wait=10' })
    expect(status).toBe(200)
    expect(headers.get('preference-applied')).toBe('wait=10')
    expect(body.provider_answer).toEqual({ status: 'accepted', provider: 'sandbox-a' })
  })

  test.concurrent.each([
    ['INVALID_NUMBER', '+233555000003'],
    ['BLOCKED', '+233555000004'],
  ])('brings its refusal, %s, inside the 200', async (error_code, phone) => {
    const { status, body } = await send(phone, { channels: ['sms'] }, { prefer: 'wait=10' })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'sent',
      provider_answer: { status: 'refused', error_code },
    })
  })

  test.concurrent('gives up after the wait', async () => {
    const phone = freshPhone()
    await client.script(phone, { accept: { hang: true } })
    const asked = Date.now()
    const { body } = await send(phone, { channels: ['sms'] }, { prefer: 'wait=1' })
    expect(body).not.toHaveProperty('provider_answer')
    expect(Date.now() - asked).toBeLessThan(5_000)
  })
})

describe('Idempotency-Key', () => {
  test.concurrent('repeats the answer for an equal body and refuses another', async () => {
    const phone = freshPhone()
    const headers = { 'idempotency-key': `key-${phone}` }
    const first = await send(phone, {}, headers)
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    const again = await send(phone, {}, headers)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.body.request_id).toBe(first.body.request_id)
    expect(await send(phone, { purpose: 'other' }, headers)).toMatchObject({
      status: 422,
      body: { error_code: 'IDEMPOTENCY_MISMATCH' },
    })
    // A key belongs to its app, and replays take nothing of the limit.
    const foreign = await call('POST', '/otp/send', { phone_number: phone }, { by: other, headers })
    expect(foreign.body.request_id).not.toBe(first.body.request_id)
    for (let replays = 0; replays < 4; replays++) {
      expect((await send(phone, {}, headers)).status).toBe(200)
    }
  })

  test.concurrent('is free again after a 429', async () => {
    const phone = freshPhone()
    for (let sends = 0; sends < 3; sends++) expect((await send(phone)).status).toBe(200)
    const headers = { 'idempotency-key': `limited-${phone}` }
    expect((await send(phone, {}, headers)).status).toBe(429)
    expect((await send(phone, {}, headers)).status).toBe(429)
    expect((await send(freshPhone(), {}, headers)).status).toBe(200)
  })
})
