import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { Browser, Locator, Page } from 'playwright-core'
import { complaintsOf, openBrowser } from '../harness/browser'
import { clientOf, freshPhone, type TestClient, untilState } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let browser: Browser
let page: Page
let complaints: string[]
let pictures: string

beforeAll(async () => {
  pictures = mkdtempSync(join(tmpdir(), 'otpilot-page-'))
  browser = await openBrowser()
  system = await startSystem()
  client = clientOf(system)
})
afterAll(async () => {
  await browser?.close()
  await system?.stop()
  rmSync(pictures, { recursive: true, force: true })
})

beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1000, height: 800 } })
  page.setDefaultTimeout(15_000)
  complaints = complaintsOf(page)
})
afterEach(async () => {
  await page?.close()
  expect(complaints).toEqual([])
})

/** Types the number, as a person would, and waits until the page has the phone in hand. */
async function pickUp(phone: string): Promise<void> {
  await page.goto(system.sandboxUrl)
  await page.getByLabel('Phone number or e-mail address').fill(phone)
  await page.getByRole('button', { name: 'Open' }).click()
  await page.getByRole('status').getByText('live').waitFor()
}

const messages = () => page.getByRole('log').getByRole('listitem')

/** The six digits of a text that a person reads. */
function codeIn(text: string): string {
  const [code] = /(?<!\d)\d{6}(?!\d)/.exec(text.replace(/(?<=\d)[ ,.]+(?=\d)/g, '')) ?? []
  if (code === undefined) throw new Error('no code to read on the page')
  return code
}

const verify = async (phone: string, code: string) =>
  (await client.verify({ phone_number: phone, code })).body.status

describe('the phone page in a real browser', () => {
  test('follows the number in its address, also back', async () => {
    const [one, other] = [freshPhone(), freshPhone()]
    await client.sent(one, { message: 'First {{code}}' })
    await client.sent(other, { message: 'Second {{code}}' })
    await page.goto(`${system.sandboxUrl}/#${encodeURIComponent(one)}`)
    await messages().getByText('First').waitFor()
    await page.evaluate(`location.hash = ${JSON.stringify(other)}`)
    await messages().getByText('Second').waitFor()
    expect(await messages().count()).toBe(1)
    await page.goBack()
    await messages().getByText('First').waitFor()
    expect(await messages().count()).toBe(1)
    await page.goForward()
    await messages().getByText('Second').waitFor()
  })

  test('an SMS appears by itself; its code, read from the page, verifies; the page says so', async () => {
    const phone = freshPhone()
    await pickUp(phone)
    expect(await messages().count()).toBe(0)
    const requestId = await client.sent(phone)
    const message = messages().first()
    await message.waitFor()
    await message.getByText('delivered').waitFor()
    const code = codeIn(await message.locator('.bubble').innerText())
    expect(await verify(phone, code)).toBe('verified')
    await message.getByText('✓ Verified').waitFor()
    await untilState(client, requestId, 'verified')
    const picture = join(pictures, 'phone.png')
    await page.screenshot({ path: picture })
    expect(statSync(picture).size).toBeGreaterThan(10_000)
  })

  test('a call rings until it is answered, then says the code', async () => {
    const phone = freshPhone()
    await pickUp(phone)
    const requestId = await client.sent(phone, { channel: 'voice' })
    const call = page.getByRole('alertdialog', { name: 'Incoming call' })
    await call.waitFor()
    expect(await call.innerText()).not.toMatch(/\d{6}/)
    await call.getByRole('button', { name: 'Answer' }).click()
    const inCall = page.getByRole('alertdialog', { name: 'In call' })
    const code = codeIn(await inCall.getByRole('blockquote').innerText())
    expect(await verify(phone, code)).toBe('verified')
    await inCall.getByRole('button', { name: 'Hang up' }).click()
    await messages().getByText('Answered call').waitFor()
    await messages().getByText('✓ Verified').waitFor()
    expect((await untilState(client, requestId, 'verified')).steps[0]).toMatchObject({
      channel: 'voice',
      status: 'succeeded',
    })
  })

  test('a USSD code is shown to the phone that dials for it', async () => {
    const phone = freshPhone()
    await pickUp(phone)
    await client.sent(phone, { channel: 'ussd' })
    await page.getByText('A code waits').waitFor()
    await page.getByRole('button', { name: 'Dial' }).click()
    const screen = page.getByRole('alertdialog')
    await screen.getByText(/\d/).waitFor()
    const code = codeIn(await screen.innerText())
    await screen.getByRole('button', { name: 'OK' }).click()
    expect(await verify(phone, code)).toBe('verified')
    await messages().getByText('✓ Verified').waitFor()
  })

  test('a number that several brands have a code for picks one from the menu', async () => {
    const phone = freshPhone()
    await pickUp(phone)
    const other = clientOf(system, system.otherKey)
    for (const app of [client, other]) await app.sent(phone, { channels: ['ussd'] })
    await page.getByText('A code waits').waitFor()
    await page.getByRole('button', { name: 'Dial' }).click()
    const screen = page.getByRole('alertdialog')
    await screen.getByText('1 Other').waitFor()
    await screen.getByLabel('Your answer').fill('2')
    await screen.getByRole('button', { name: 'Send' }).click()
    await screen.getByText(/Your Acme code is \d/).waitFor()
    expect(await screen.getByLabel('Your answer').isVisible()).toBe(false)
    const code = codeIn(await screen.innerText())
    await screen.getByRole('button', { name: 'OK' }).click()
    expect(await verify(phone, code)).toBe('verified')
    // The other one waits on.
    await page.getByText('A code waits').waitFor()
  })

  test('a USSD code can be dialled for before its turn', async () => {
    const phone = freshPhone()
    await client.script(phone, { receipt: 'none' })
    await pickUp(phone)
    await client.sent(phone)
    await messages().first().waitFor()
    await page.getByRole('button', { name: 'Dial' }).click()
    const screen = page.getByRole('alertdialog')
    await screen.getByText(/Your Acme code is \d/).waitFor()
    expect(await verify(phone, codeIn(await screen.innerText()))).toBe('verified')
    await screen.getByRole('button', { name: 'OK' }).click()
    await messages().getByText('✓ Verified').first().waitFor()
  })

  test('a message is text: markup in it stays markup to read', async () => {
    const phone = freshPhone()
    await pickUp(phone)
    const message = '<img src=x onerror=alert(1)> {{code}}'
    await client.sent(phone, { channels: ['sms'], message })
    await messages().first().getByText('<img src=x onerror=alert(1)>').waitFor()
    expect(await messages().locator('img').count()).toBe(0)
  })

  test('its security policy runs no script that the page did not bring', async () => {
    const answer = await page.goto(system.sandboxUrl)
    expect(answer?.headers()['content-security-policy']).toMatch(/default-src 'none'/)
    const injected = page.addScriptTag({ content: 'document.title = "taken over"' })
    await expect(injected).rejects.toThrow(/Content Security Policy/)
    expect(await page.title()).toBe('Sandbox phone')
    expect(complaints.splice(0)).toEqual([expect.stringMatching(/Content Security Policy/)])
  })

  test.each([1280, 1000, 760, 390])('fits a window %i pixels wide', async (width) => {
    await page.setViewportSize({ width, height: 800 })
    await pickUp(freshPhone())
    const edgeOf = async (what: Locator) => {
      const box = await what.boundingBox()
      return box ? box.x + box.width : 0
    }
    const side = page.getByRole('complementary')
    const sideEdge = await edgeOf(side)
    expect(await edgeOf(side.getByRole('button', { name: 'Open' }))).toBeLessThan(sideEdge - 8)
    expect(await edgeOf(page.getByRole('region', { name: 'Phone' }))).toBeLessThanOrEqual(width)
  })
})
