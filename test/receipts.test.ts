import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { clientOf, freshPhone, type TestClient, until } from './harness/client'
import { startSystem, type System } from './harness/system'

const secretOf = () => `whsec_${randomBytes(32).toString('base64')}`
const receiptSecret = secretOf()

interface GatewayMessage {
  request_id: string
  attempt_id: string
  to: string
  channel: string
}

let system: System
let client: TestClient
let gateway: Server
const messages: GatewayMessage[] = []

beforeAll(async () => {
  gateway = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      messages.push(JSON.parse(Buffer.concat(chunks).toString()) as GatewayMessage)
      response.writeHead(202, { 'content-type': 'application/json' }).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  const gatewayUrl = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}/`
  system = await startSystem({
    providers: { gatewayUrl, gatewaySecret: secretOf(), receiptSecret },
  })
  client = clientOf(system, system.liveKey)
})
afterAll(async () => {
  await system.stop()
  gateway.close()
})

async function sentByGateway(phone: string, given: Record<string, unknown> = {}) {
  const id = await client.sent(phone, given)
  return until(async () => messages.find(({ request_id }) => request_id === id))
}

/** Posts a receipt as a gateway would, signed unless told otherwise. */
async function report(
  receipt: Record<string, unknown>,
  { secret = receiptSecret, id = `evt_${randomBytes(8).toString('hex')}`, at = new Date() } = {},
) {
  const body = JSON.stringify({ timestamp: new Date().toISOString(), ...receipt })
  const response = await fetch(`${system.url}/webhooks/otp-status`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(id, at, body),
    },
    body,
  })
  const answer = (await response.json()) as { received?: boolean; error_code?: string }
  return [response.status, answer.received ?? answer.error_code]
}

describe('receipts of a gateway of one’s own', () => {
  test('a delivered message succeeds its step; a repeated receipt changes nothing', async () => {
    const phone = freshPhone()
    const { request_id, attempt_id } = await sentByGateway(phone)
    const receipt = { request_id, attempt_id, status: 'delivered', phone_number: phone }
    expect(await report(receipt, { id: 'evt_1' })).toEqual([200, true])
    const status = await until(async () => {
      const seen = await client.status(request_id)
      return seen.steps[0]?.status === 'succeeded' && seen
    })
    expect(status.delivered_at).not.toBeNull()
    expect(await report(receipt, { id: 'evt_1' })).toEqual([200, true])
    const receipts = (await client.status(request_id)).events.filter(
      ({ type }) => type === 'receipt',
    )
    expect(receipts).toHaveLength(1)
  })

  test('the words of the guide are enough: request_id, status, phone_number, timestamp', async () => {
    const phone = freshPhone()
    const { request_id } = await sentByGateway(phone)
    const receipt = { request_id, status: 'failed', phone_number: phone.slice(1) }
    expect(await report(receipt)).toEqual([200, true])
    await until(async () => (await client.status(request_id)).steps[0]?.status === 'failed')
  })

  test('another number is refused', async () => {
    const { request_id } = await sentByGateway(freshPhone())
    const receipt = { request_id, status: 'delivered', phone_number: freshPhone() }
    expect(await report(receipt)).toEqual([422, 'RECIPIENT_MISMATCH'])
    expect((await client.status(request_id)).delivered_at).toBeNull()
  })

  test('a wrong or old signature, and an unknown request without one, look the same', async () => {
    const phone = freshPhone()
    const { request_id } = await sentByGateway(phone)
    const receipt = { request_id, status: 'delivered', phone_number: phone }
    const unknown = { ...receipt, request_id: 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa' }
    const old = new Date(Date.now() - 6 * 60_000)
    const refused = [401, 'INVALID_SIGNATURE']
    expect(await report(receipt, { secret: secretOf() })).toEqual(refused)
    expect(await report(receipt, { at: old })).toEqual(refused)
    expect(await report(unknown, { secret: secretOf() })).toEqual(refused)
    expect((await client.status(request_id)).delivered_at).toBeNull()
  })

  test('two open attempts need an attempt_id', async () => {
    const phone = freshPhone()
    const { request_id, attempt_id } = await sentByGateway(phone)
    await client.call('POST', `/otp/${request_id}/next`)
    await until(
      async () => messages.filter((message) => message.request_id === request_id).length === 2,
    )
    const receipt = { request_id, status: 'delivered', phone_number: phone }
    expect(await report(receipt)).toEqual([409, 'AMBIGUOUS_ATTEMPT'])
    expect(await report({ ...receipt, attempt_id })).toEqual([200, true])
  })

  test('what the account does not own it cannot report: the sandbox’s attempts are not the gateway’s', async () => {
    const phone = freshPhone()
    const test = clientOf(system)
    const request_id = await test.sent(phone)
    await until(async () => (await test.status(request_id)).steps[0]?.attempts[0])
    const { attempts } = (await test.status(request_id)).steps[0] ?? {}
    const receipt = {
      request_id,
      attempt_id: attempts?.[0]?.attempt_id,
      status: 'failed',
      phone_number: phone,
    }
    expect(await report(receipt)).toEqual([401, 'INVALID_SIGNATURE'])
  })
})
