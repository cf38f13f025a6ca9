import { createServer, type RequestListener, type Server } from 'node:http'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import pino from 'pino'
import type { Browser, Page, Request } from 'playwright-core'
import { createSandbox } from '../../sandbox'
import { complaintsOf, openBrowser } from '../harness/browser'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf } from '../harness/visitor'

let system: System
let client: TestClient
let browser: Browser
let page: Page
let complaints: string[]
let publishableKey: string
/** A sandbox that knows the key, beside the system's own, which has the phones. */
let sandbox: ReturnType<typeof createSandbox>
let server: Server
let siteUrl: string
let pictures: string

beforeAll(async () => {
  pictures = mkdtempSync(join(tmpdir(), 'otpilot-sign-up-'))
  browser = await openBrowser()
  system = await startSystem()
  client = clientOf(system)
  publishableKey = await publishableKeyOf(system)
  ;({ sandbox, server, siteUrl } = await serveSite(publishableKey))
})
afterAll(async () => {
  await browser?.close()
  await sandbox?.close()
  await closeServer(server)
  await system?.stop()
  rmSync(pictures, { recursive: true, force: true })
})
beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 900, height: 720 } })
  page.setDefaultTimeout(15_000)
  complaints = complaintsOf(page)
})
afterEach(() => page?.close())

async function serveSite(key: string | undefined) {
  const site = createSandbox({
    secret: system.sandboxSecret,
    otpilotUrl: system.url,
    logger: pino({ level: 'silent' }),
    publishableKey: key,
  })
  const itsServer = createServer()
  itsServer.on('request', site.app as RequestListener)
  return { sandbox: site, server: itsServer, siteUrl: await listen(itsServer) }
}

const codeFor = async (phone: string) =>
  (await until(async () => (await client.inbox(phone))[0], { what: 'a code' })).code
const button = (name: string) => page.getByRole('button', { name })

test('from a click to a confirmed number: the widget solves, the form sends and checks', async () => {
  const phone = freshPhone()
  const asked: Request[] = []
  page.on('request', (request) => asked.push(request))
  await page.goto(`${siteUrl}/sign-up.html`)
  await page.getByLabel('Phone number').fill(phone)
  await page.getByText('not a robot').click()
  await page.locator('altcha-widget').getByText('Verified').waitFor()
  await page.screenshot({ path: join(pictures, 'solved.png') })
  await button('Send me a code').click()
  await page.getByLabel('The code that was sent').waitFor()

  await page.getByLabel('The code that was sent').fill('000000')
  await button('Confirm').click()
  await page.getByRole('alert').getByText('not right').waitFor()
  await page.getByLabel('The code that was sent').fill(await codeFor(phone))
  await button('Confirm').click()
  await page.getByText('Your number is confirmed').waitFor()
  const picture = join(pictures, 'done.png')
  await page.screenshot({ path: picture })
  expect(statSync(picture).size).toBeGreaterThan(10_000)
  expect(complaints).toEqual([])

  const { requests } = (
    await client.call<{ requests: { state: string }[] }>('POST', '/otp/search', {
      ...{ phone_number: phone, purpose: 'publishable' },
    })
  ).body
  expect(requests.map(({ state }) => state)).toEqual(['verified'])
  const hosts = new Set(asked.map((request) => new URL(request.url()).origin))
  expect([...hosts].sort()).toEqual([siteUrl, system.url].sort())
  const sends = asked.filter((request) => request.url() === `${system.url}/otp/send`)
  expect(sends.filter((request) => request.method() === 'POST')).toHaveLength(1)
})

test('who does not tick the box waits for the challenge after the click; a second send solves a second one', async () => {
  await page.goto(`${siteUrl}/sign-up.html`)
  for (const phone of [freshPhone(), freshPhone()]) {
    await page.getByLabel('Phone number').fill(phone)
    await button('Send me a code').click()
    await page.getByText(`was sent to ${phone}`).waitFor()
    expect(await codeFor(phone)).toMatch(/^\d{6}$/)
    await button('Another number').click()
  }
  expect(complaints).toEqual([])
})

test('a number that is none is told, and costs nothing', async () => {
  await page.goto(`${siteUrl}/sign-up.html`)
  await button('Send me a code').click()
  await page.getByRole('alert').getByText('Type your phone number').waitFor()
  await page.getByLabel('Phone number').fill('12')
  await button('Send me a code').click()
  await page.getByRole('alert').getByText('not a valid phone number').waitFor()
  await page.getByLabel('Phone number').fill(freshPhone())
  await button('Send me a code').click()
  await page.getByLabel('The code that was sent').waitFor()
})

test('the site gives away no key but the publishable one, and says where there is none', async () => {
  const bare = await serveSite(undefined)
  try {
    await page.goto(`${bare.siteUrl}/sign-up.html`)
    await page.getByRole('alert').getByText('OTPILOT_PUBLISHABLE_KEY').waitFor()
    expect(await button('Send me a code').isDisabled()).toBe(true)
  } finally {
    await bare.sandbox.close()
    await closeServer(bare.server)
  }
  const files = ['sign-up.html', 'sign-up.js', 'sign-up.css', 'sign-up/settings']
  const texts = await Promise.all(
    files.map(async (file) => (await fetch(`${siteUrl}/${file}`)).text()),
  )
  const text = texts.join('\n')
  expect(text).toContain(publishableKey)
  for (const secret of [system.key, system.liveKey, system.operatorKey, system.sandboxSecret])
    expect(text).not.toContain(secret)
})
