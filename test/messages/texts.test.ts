import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { clientOf, freshPhone, type InboxEntry, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
})
afterAll(() => system.stop())

const firstMessage = (address: string): Promise<InboxEntry> =>
  until(async () => (await client.inbox(address))[0], { what: 'a message' })

const template = 'Hello! {{code}} is for {{brand}}, {{minutes}} min; {{code}}.'

describe('what people read and hear', () => {
  test.concurrent('sms: the caller’s template, filled in, and nothing else', async () => {
    const phone = freshPhone()
    await client.sent(phone, { message: template, expiry_seconds: 120, brand: 'Kofi & Co' })
    const { text, code } = await firstMessage(phone)
    expect(code).toMatch(/^\d{6}$/)
    expect(text).toBe(`Hello! ${code} is for Kofi & Co, 2 min; ${code}.`)
  })

  test.concurrent('sms without a template: brand, code and minutes in one part', async () => {
    const phone = freshPhone()
    await client.sent(phone)
    const { text, code } = await firstMessage(phone)
    expect(text).toContain(code)
    expect(text).toContain('Acme')
    expect(text).toContain('5 min')
    expect(text.length).toBeLessThanOrEqual(160)
  })

  test.concurrent('voice: the digits apart', async () => {
    const phone = freshPhone()
    await client.sent(phone, { channels: ['voice'], message: 'Your code: {{code}}' })
    const { channel, text, code } = await firstMessage(phone)
    expect(channel).toBe('voice')
    expect(text).toBe(`Your code: ${[...code].join(' ')}`)
  })

  test.concurrent.each(['whatsapp', 'ussd'])('%s: a text of its own', async (channel) => {
    const phone = freshPhone()
    await client.sent(phone, { channels: [channel], message: template })
    const message = await firstMessage(phone)
    expect(message.channel).toBe(channel)
    expect(message.text).not.toContain('Hello!')
    expect(message.text).toContain(message.code)
  })

  test.concurrent('email: the template, to the address in small letters', async () => {
    const user = `Ama.${process.pid}@Example.com`
    const sent = await client.call('POST', '/otp/send', { email: user, message: template })
    expect(sent).toMatchObject({ status: 200, body: { status: 'sent', channel: 'email' } })
    const { to, channel, text, code } = await firstMessage(user.toLowerCase())
    expect({ to, channel }).toEqual({ to: user.toLowerCase(), channel: 'email' })
    expect(text).toBe(`Hello! ${code} is for Acme, 5 min; ${code}.`)
    // E-mail is no second factor, and the answer says so.
    expect((await client.verify({ email: user, code })).body).toMatchObject({
      status: 'verified',
      assurance: 'contact_check',
    })
  })
})

describe('numbers as people write them', () => {
  test.concurrent('are one number', async () => {
    const phone = freshPhone()
    const digits = phone.slice(1)
    const spaced = `+${digits.slice(0, 3)} (${digits.slice(3, 5)}) ${digits.slice(5, 8)}-${digits.slice(8)}`
    const ids = [
      await client.sent(spaced),
      await client.sent(`00${digits}`),
      await client.sent(digits),
    ]
    expect(new Set(ids).size).toBe(1)
    const { to, code } = await firstMessage(phone)
    expect(to).toBe(phone)
    expect(
      (await client.verify({ phone_number: `+${digits.replace(/(\d{3})/g, '$1.')}`, code })).body,
    ).toMatchObject({ status: 'verified' })
  })
})

describe('lifetimes', () => {
  const secondsLeft = async (given: Record<string, unknown>) => {
    const { body } = await client.call<{ expires_at: string }>('POST', '/otp/send', {
      phone_number: freshPhone(),
      ...given,
    })
    return (Date.parse(body.expires_at) - Date.now()) / 1_000
  }
  test.concurrent('are 300 s, as asked for, or 180 s at high risk', async () => {
    expect(Math.abs((await secondsLeft({})) - 300)).toBeLessThan(5)
    expect(Math.abs((await secondsLeft({ expiry_seconds: 60 })) - 60)).toBeLessThan(5)
    expect(Math.abs((await secondsLeft({ risk: 'high' })) - 180)).toBeLessThan(5)
    expect(Math.abs((await secondsLeft({ risk: 'high', expiry_seconds: 60 })) - 60)).toBeLessThan(5)
  })
  test.concurrent('above the app’s maximum are refused', async () => {
    expect(await client.send(freshPhone(), { expiry_seconds: 301 })).toMatchObject({
      status: 400,
      body: { error_code: 'INVALID_EXPIRY' },
    })
  })
})

test.concurrent('a live key without an account of its own is told what to set', async () => {
  const { status, body } = await clientOf(system, system.liveKey).call('POST', '/otp/send', {
    phone_number: freshPhone(),
  })
  expect(status).toBe(400)
  expect(body).toMatchObject({ error_code: 'CHANNEL_UNAVAILABLE' })
  expect(body.message).toContain('OTPILOT_GATEWAY_URL')
})
