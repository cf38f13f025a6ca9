import { mkdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Browser } from 'playwright-core'
import { readVariables } from '../../cli/dotenv'
import { openBrowser } from './browser'
import { clientOf, until } from './client'

// Takes the pictures of docs/images/ from a running `npm start`: `npm run screenshots`, about 45 seconds.

/** The sandbox takes SMS to this number and never says that they arrived. */
const silentPhone = '+233555000001'
const pictures = resolve(__dirname, '../../docs/images')
const dataFolder = process.env.OTPILOT_DATA_DIR || resolve(__dirname, '../../.otpilot')

interface Place {
  url: string
  sandboxUrl: string
  key: string
}

function runningSystem(): Place {
  const { OTPILOT_URL, SANDBOX_URL, OTP_API_KEY } = readVariables(join(dataFolder, 'env'))
  if (!OTPILOT_URL || !SANDBOX_URL || !OTP_API_KEY)
    throw new Error(`No otpilot runs in ${dataFolder}: run "npm start" first.`)
  return { url: OTPILOT_URL, sandboxUrl: SANDBOX_URL, key: OTP_API_KEY }
}

/** A phone that gets an SMS, then a call, and whose owner types the code. @returns the run's page in Temporal UI */
async function showPhone(browser: Browser, place: Place): Promise<string> {
  const client = clientOf(place)
  await fetch(`${place.sandboxUrl}/inbox`, { method: 'DELETE' })
  const page = await browser.newPage({ viewport: { width: 1200, height: 820 } })
  await page.goto(`${place.sandboxUrl}/#${encodeURIComponent(silentPhone)}`)
  await page.getByRole('status').getByText('live').waitFor()
  const requestId = await client.sent(silentPhone)
  await page.getByRole('button', { name: 'Answer' }).click({ timeout: 45_000 })
  await pause(3_000)
  const code = await page.locator('#call-code').innerText()
  await page.getByRole('button', { name: 'Hang up' }).click()
  await client.verify({ phone_number: silentPhone, code })
  await page.getByText('✓ Verified').first().waitFor()
  await page.mouse.move(0, 0)
  await page.screenshot({ path: join(pictures, 'phone.png') })
  const { temporal_ui_url: runPage } = await until(async () => {
    const status = await client.status(requestId)
    return status.state === 'verified' && status
  })
  if (!runPage) throw new Error('This otpilot knows no Temporal UI: set TEMPORAL_UI_URL.')
  return runPage
}

/** The timeline of the run and its first events, in the order of time. */
async function showRun(browser: Browser, runPage: string): Promise<void> {
  const width = 1200
  const page = await browser.newPage({ viewport: { width, height: 2000 } })
  await page.goto(runPage)
  await page.getByRole('button', { name: 'Descending' }).click()
  await page.getByText('sms: waiting for delivery').first().waitFor()
  await pause(3_000)
  const heading = await page.getByText('Event History').first().boundingBox()
  if (!heading) throw new Error('Temporal UI shows no event history.')
  const clip = { x: 64, y: heading.y - 8, width: width - 64, height: 424 }
  await page.screenshot({ path: join(pictures, 'temporal-ui.png'), clip })
}

/** A website's sign-up form whose visitor is about to type the code. */
async function showSignUp(browser: Browser, { sandboxUrl }: Place): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 900, height: 560 } })
  await page.goto(`${sandboxUrl}/sign-up.html`)
  await page.getByLabel('Phone number').fill('+233 24 123 4567')
  await page.getByText('not a robot').click()
  await page.locator('altcha-widget').getByText('Verified').waitFor()
  // Its tick is drawn slowly.
  await pause(1_000)
  await page.mouse.move(0, 0)
  await page.screenshot({ path: join(pictures, 'sign-up.png') })
}

async function main(): Promise<void> {
  mkdirSync(pictures, { recursive: true })
  const browser = await openBrowser()
  try {
    await showSignUp(browser, runningSystem())
    await showRun(browser, await showPhone(browser, runningSystem()))
  } finally {
    await browser.close()
  }
  for (const name of ['phone.png', 'temporal-ui.png', 'sign-up.png'])
    console.log(`docs/images/${name}  ${Math.ceil(statSync(join(pictures, name)).size / 1024)} KB`)
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
