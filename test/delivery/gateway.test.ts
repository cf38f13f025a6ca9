import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { makeSecret } from '../../codes/standard-webhook'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

const gatewaySecret = makeSecret()
const receiptSecret = makeSecret()

/** What the operator's gateway received, its signature checked. */
interface Handed {
  request_id: string
  attempt_id: string
  channel: string
  to: string
  text: string
  code: string
  receipt_url: string
}

const handed: Handed[] = []
let gateway: Server
let system: System
let client: TestClient

beforeAll(async () => {
  const webhook = new Webhook(gatewaySecret)
  gateway = createServer((request, response) => {
    void text(request).then((body) => {
      const { headers } = request
      try {
        handed.push(webhook.verify(body, headers as Record<string, string>) as Handed)
        response.writeHead(202).end('{"id":"gw-1"}')
      } catch {
        response.writeHead(401).end()
      }
    })
  })
  system = await startSystem({
    channels: ['sms', 'voice'],
    steps: { sms: { timeoutMs: 3_000 }, voice: { timeoutMs: 60_000 } },
    variables: {
      OTPILOT_GATEWAY_URL: await listen(gateway),
      OTPILOT_GATEWAY_SECRET: gatewaySecret,
      OTPILOT_RECEIPT_SECRET: receiptSecret,
    },
  })
  client = clientOf(system, system.liveKey)
})
afterAll(async () => {
  await system.stop()
  await closeServer(gateway)
})

const handedTo = (phone: string, messages = 1) =>
  until(
    async () => {
      const found = handed.filter(({ to }) => to === phone)
      return found.length >= messages && found
    },
    { what: 'a message at the gateway' },
  )
const firstHanded = async (phone: string) => {
  const [message] = await handedTo(phone)
  if (!message) throw new Error('The gateway has no message.')
  return message
}

interface Given {
  id?: string
  by?: string
  signature?: string
  at?: Date
}

/** Posts a receipt as the gateway would. */
async function report(
  receipt: Record<string, unknown>,
  {
    id = `evt_${randomBytes(8).toString('hex')}`,
    by = receiptSecret,
    at = new Date(),
    signature,
  }: Given = {},
) {
  const body = JSON.stringify({ timestamp: at.toISOString(), ...receipt })
  const response = await fetch(`${system.url}/webhooks/otp-status`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': signature ?? new Webhook(by).sign(id, at, body),
    },
    body,
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
const receiptFor = ({ request_id, to: phone_number }: Handed) => ({
  request_id,
  phone_number,
  status: 'delivered',
})
const received = { status: 200, body: { received: true } }
const eventsOf = async (id: string) => (await client.status(id)).events.map(({ type }) => type)

describe('a gateway of one’s own', () => {
  test.concurrent(
    'gets the message as signed JSON, reports it, and the code verifies',
    async () => {
      const phone = freshPhone()
      const id = await client.sent(phone, { message: 'Code {{code}}' })
      const message = await firstHanded(phone)
      expect(message).toMatchObject({
        type: 'otp.message',
        request_id: id,
        channel: 'sms',
        text: `Code ${message.code}`,
        receipt_url: `${system.url}/webhooks/otp-status`,
      })
      expect(await report(receiptFor(message))).toEqual(received)
      const [sms] = (await client.status(id)).steps
      expect(sms).toMatchObject({ status: 'succeeded', attempts: [{ provider: 'webhook' }] })
      // The run learned of it: the time of the step passes without a call.
      await new Promise((resolve) => setTimeout(resolve, 4_000))
      expect(await handedTo(phone)).toHaveLength(1)
      expect((await client.verify({ phone_number: phone, code: message.code })).body.status).toBe(
        'verified',
      )
    },
  )

  test.concurrent('may write its receipt its own way', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const receipt = receiptFor(await firstHanded(phone))
    const written = {
      ...{ ...receipt, phone_number: `\u202a${phone.slice(1)}\u202c`, status: 'DELIVERED' },
      ...{ attempt_id: null, carrier: 'MTN', raw: { code: 0 } },
    }
    expect(await report(written)).toEqual(received)
    expect((await client.status(id)).steps[0]).toMatchObject({ status: 'succeeded' })
  })

  test.concurrent('a receipt that says failed brings the next channel at once', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const { attempt_id, ...message } = await firstHanded(phone)
    const receipt = { ...receiptFor({ ...message, attempt_id }), status: 'failed', attempt_id }
    expect(await report(receipt)).toEqual(received)
    const [, call] = await handedTo(phone, 2)
    expect(call).toMatchObject({ channel: 'voice', code: message.code })
    expect((await client.status(id)).steps[0]?.status).toBe('failed')
  })
})

describe('a receipt is refused', () => {
  test.concurrent(
    'with a wrong, a foreign or no signature, and for what is not known',
    async () => {
      const phone = freshPhone()
      await client.sent(phone)
      const receipt = receiptFor(await firstHanded(phone))
      const refusal = { status: 401, body: { error_code: 'INVALID_SIGNATURE' } }
      expect(await report(receipt, { by: makeSecret() })).toMatchObject(refusal)
      expect(await report(receipt, { by: gatewaySecret })).toMatchObject(refusal)
      expect(await report(receipt, { signature: 'v1,' })).toMatchObject(refusal)
      const old = new Date(Date.now() - 6 * 60_000)
      expect(await report(receipt, { at: old })).toMatchObject(refusal)
      const unknown = { ...receipt, request_id: 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa' }
      expect(await report(unknown, { by: makeSecret() })).toMatchObject(refusal)
      const notFound = { status: 404, body: { error_code: 'NOT_FOUND' } }
      expect(await report(unknown)).toMatchObject(notFound)
      expect(await report({ ...receipt, attempt_id: 'att_unknown' })).toMatchObject(notFound)
      expect(await eventsOf(receipt.request_id)).not.toContain('receipt')
    },
  )

  test.concurrent('for an attempt of an account with another secret', async () => {
    const phone = freshPhone()
    const request_id = await clientOf(system).sent(phone, { channels: ['sms'] })
    await until(async () => (await clientOf(system).inbox(phone)).length === 1)
    expect(await report({ request_id, phone_number: phone, status: 'failed' })).toMatchObject({
      status: 401,
      body: { error_code: 'INVALID_SIGNATURE' },
    })
  })

  test.concurrent('for another phone number', async () => {
    const phone = freshPhone()
    await client.sent(phone)
    const receipt = receiptFor(await firstHanded(phone))
    expect(await report({ ...receipt, phone_number: freshPhone() })).toMatchObject({
      status: 422,
      body: { error_code: 'RECIPIENT_MISMATCH' },
    })
    expect(await eventsOf(receipt.request_id)).not.toContain('receipt')
    expect(await report({ ...receipt, phone_number: phone.slice(1) })).toEqual(received)
  })

  test.concurrent('may name the number as its network spells it', async () => {
    const rest = `9${String(Date.now()).slice(-7, -1)}1`
    await client.sent(`+5255${rest}`)
    const receipt = receiptFor(await firstHanded(`+5255${rest}`))
    const another = { ...receipt, phone_number: `52155${rest.slice(0, 7)}0` }
    expect(await report(another)).toMatchObject({ status: 422 })
    expect(await report({ ...receipt, phone_number: `whatsapp:+52155${rest}` })).toEqual(received)
  })

  test.concurrent('without attempt_id while two attempts are open', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const [sms, call] = await handedTo(phone, 2)
    if (!sms || !call) throw new Error('Two messages were expected.')
    expect(await report(receiptFor(sms))).toMatchObject({
      status: 409,
      body: { error_code: 'AMBIGUOUS_ATTEMPT', request_id: id },
    })
    const named = { ...receiptFor(sms), attempt_id: sms.attempt_id }
    expect(await report(named)).toEqual(received)
    expect((await client.status(id)).steps.map(({ status }) => status)).toEqual([
      'succeeded',
      'sent',
    ])
    // One is left, so it needs no name any more; that it rang does not end it.
    expect(await report(receiptFor(call))).toEqual(received)
    expect(await report({ ...receiptFor(call), status: 'answered' })).toEqual(received)
    expect((await client.status(id)).steps[1]?.status).toBe('succeeded')
  })
})

describe('a receipt that comes again', () => {
  test.concurrent.each([
    ['with attempt_id', true],
    ['without attempt_id', false],
  ])('%s is a duplicate', async (_how, named) => {
    const phone = freshPhone()
    const request = await client.sent(phone)
    const message = await firstHanded(phone)
    const receipt = { ...receiptFor(message), ...(named && { attempt_id: message.attempt_id }) }
    const id = `evt_${randomBytes(8).toString('hex')}`
    expect(await report(receipt, { id })).toEqual(received)
    expect(await report(receipt, { id })).toEqual(received)
    expect((await eventsOf(request)).filter((type) => type === 'receipt')).toHaveLength(1)
  })

  test.concurrent('after the end is kept as late', async () => {
    const phone = freshPhone()
    const id = await client.sent(phone)
    const message = await firstHanded(phone)
    await client.verify({ request_id: id, code: message.code })
    expect(await report(receiptFor(message))).toEqual(received)
    expect(await eventsOf(id)).toContain('late_receipt')
    expect((await client.status(id)).state).toBe('verified')
  })
})
