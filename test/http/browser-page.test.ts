import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Challenge } from 'altcha-lib'
import type { Browser } from 'playwright-core'
import { createApiKey } from '../../db/apps/api-keys'
import { complaintsOf, openBrowser } from '../harness/browser'
import { clientOf, freshPhone, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'

let system: System
let browser: Browser
/** Somebody's shop: another origin than the API's. */
let shop: Server
let shopUrl: string

beforeAll(async () => {
  browser = await openBrowser()
  system = await startSystem()
  shop = createServer((_request, response) =>
    response
      .setHeader('content-type', 'text/html')
      .end('<!doctype html><link rel="icon" href="data:,"><title>Shop</title>'),
  )
  shopUrl = await listen(shop)
})
afterAll(async () => {
  await browser?.close()
  await closeServer(shop)
  await system?.stop()
})

interface Asked {
  url: string
  key: string
  method: string
  path: string
  body?: object
}

/** Runs in the page: a call as any page makes it. */
async function callFromPage({ url, key, method, path, body }: Asked) {
  const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' }
  const response = await fetch(url + path, {
    method,
    headers,
    ...(body && { body: JSON.stringify(body) }),
  })
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    body: (await response.json()) as Record<string, unknown>,
  }
}

/** Runs in the page: what a solver does, with what browsers have built in. */
async function solveInPage({ parameters, signature }: Challenge): Promise<string> {
  const bytes = (hex: string) =>
    Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16))
  const salt = bytes(parameters.salt)
  const nonce = bytes(parameters.nonce)
  for (let counter = 0; ; counter++) {
    const password = new Uint8Array([...nonce, 0, 0, 0, 0])
    new DataView(password.buffer).setUint32(nonce.length, counter)
    const key = await crypto.subtle.importKey('raw', password, 'PBKDF2', false, ['deriveBits'])
    const bits = await crypto.subtle.deriveBits(
      { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: parameters.cost },
      key,
      parameters.keyLength * 8,
    )
    const derivedKey = Array.from(new Uint8Array(bits), (byte) =>
      byte.toString(16).padStart(2, '0'),
    ).join('')
    if (derivedKey.startsWith(parameters.keyPrefix))
      return btoa(
        JSON.stringify({ challenge: { parameters, signature }, solution: { counter, derivedKey } }),
      )
  }
}

test('a page of another origin solves, sends and checks, in a real browser', async () => {
  const { key } = await createApiKey(system.db, {
    appId: 'app',
    environment: 'staging',
    scopes: ['send', 'verify'],
    publishable: true,
  })
  const page = await browser.newPage()
  const complaints = complaintsOf(page)
  await page.goto(shopUrl)
  const call = (method: string, path: string, body?: object) =>
    page.evaluate(callFromPage, { url: system.url, key, method, path, ...(body && { body }) })

  const { body: challenge } = await call('GET', '/otp/challenge')
  const solved = await page.evaluate(solveInPage, challenge as unknown as Challenge)
  const phone = freshPhone()
  const sent = await call('POST', '/otp/send', { phone_number: phone, challenge: solved })
  expect(sent.status).toBe(200)
  const client = clientOf(system)
  const { code } = await until(async () => (await client.inbox(phone))[0])
  const request_id = String(sent.body.request_id)
  const checked = await call('POST', '/otp/verify', { request_id, code })
  expect(checked.body.status).toBe('verified')
  expect((await client.status(request_id)).state).toBe('verified')
  expect(complaints).toEqual([])

  const refused = await call('POST', '/otp/send', { phone_number: phone, challenge: solved })
  expect([refused.status, refused.body.error_code]).toEqual([403, 'INVALID_CHALLENGE'])
})
