import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { changeApp } from '../../db/apps/apps'
import { openBrowser } from '../harness/browser'
import { clientOf, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let browser: Browser
let page: Page

beforeAll(async () => {
  browser = await openBrowser()
  system = await startSystem()
  client = clientOf(system)
  // With letters: digits alone never come apart.
  await changeApp(system.db, 'app', { codeAlphabet: 'alphanumeric', codeLength: 10 })
  page = await browser.newPage({ viewport: { width: 1000, height: 800 } })
})
afterAll(async () => {
  await browser?.close()
  await system?.stop()
})

interface Layout {
  direction: string
  isOnePiece: boolean
}

/** Runs in the page: the direction of the newest message, and whether the characters of its code stand side by side. */
const lookAt = (code: string) => `(() => {
  const bubble = document.querySelector('.bubble')
  if (!bubble) return undefined
  const walker = document.createTreeWalker(bubble, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const at = node.data.indexOf(${JSON.stringify(code)})
    if (at < 0) continue
    const edges = Array.from({ length: ${code.length} }, (_, index) => {
      const range = document.createRange()
      range.setStart(node, at + index)
      range.setEnd(node, at + index + 1)
      return range.getBoundingClientRect()
    })
    const isOnePiece = edges.slice(1).every(({ left }, index) => Math.abs(left - edges[index].right) < 1)
    return { direction: getComputedStyle(bubble).direction, isOnePiece }
  }
})()`

/** Phones redraw themselves when something comes in: a look in between sees nothing. */
const layoutOf = (code: string): Promise<Layout> =>
  until(async () => {
    const layout = await page.evaluate<Layout | undefined>(lookAt(code))
    return layout?.direction ? layout : undefined
  })

/** A message whose code begins with a digit: of those, the ones in Arabic came apart. */
async function messageTo(numbers: string, channel: string): Promise<{ to: string; code: string }> {
  for (let last = 10; last < 60; last++) {
    const to = `${numbers}${last}`
    await client.sent(to, { channels: [channel] })
    const message = await until(async () => (await client.inbox(to))[0])
    if (/^\d.*[A-Z]/.test(message.code)) return message
  }
  throw new Error('no code began with a digit')
}

test.each([
  ['sms', '+2010012345', 'rtl'],
  ['whatsapp', '+2010012346', 'rtl'],
  ['sms', '+336123456', 'ltr'],
])('%s to %s… runs %s, and its code is in one piece', async (channel, numbers, direction) => {
  const { to, code } = await messageTo(numbers, channel)
  await page.goto(`${system.sandboxUrl}/#${encodeURIComponent(to)}`)
  await page.reload()
  expect(await layoutOf(code)).toEqual({ direction, isOnePiece: true })
  // The same where a phone runs every text from the left.
  await page.evaluate(`document.querySelector('.bubble').dir = 'ltr'`)
  expect(await layoutOf(code)).toEqual({ direction: 'ltr', isOnePiece: true })
})
