import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { clientOf, freshDigits, type TestClient } from '../harness/client'
import { startSystem, type System } from '../harness/system'

let system: System
let live: TestClient
beforeAll(async () => {
  system = await startSystem({ fakes: ['africas-talking'], channels: ['ussd'] })
  live = clientOf(system, system.liveKey)
})
afterAll(() => system.stop())

let sessions = 0
/** As the network of the number asks for a screen. */
async function dial(fields: Record<string, string>) {
  const url = `${system.url}/ussd/africas-talking/a-callback-secret-of-the-fake`
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', connection: 'close' },
    body: new URLSearchParams({ sessionId: `s-${++sessions}`, ...fields }).toString(),
  })
  return { type: answer.headers.get('content-type'), screen: await answer.text() }
}
const dialled = async (phoneNumber: string) =>
  (await dial({ phoneNumber, serviceCode: '*384*77#', text: '' })).screen

test.each<[string, (rest: string) => [number: string, reported: string]]>([
  ['Benin', (rest) => [`+2290197${rest}`, `+22997${rest}`]],
  ['Benin, the other way round', (rest) => [`+2290161${rest}`, ` 22961${rest}`]],
  ['Côte d’Ivoire', (rest) => [`+2250707${rest}`, `22507${rest}`]],
  ['Gabon', (rest) => [`+24166${rest}`, `0024106${rest}`]],
])('a code is shown to who dials from %s by the old plan', async (_country, spell) => {
  const [phone, reported] = spell(freshDigits(6))
  await live.sent(phone, { channels: ['ussd'] })
  expect(await dialled(reported)).toMatch(/^END .*\d{6}/)
})

test('with a code for each of two spellings, the one that dialled sees its own', async () => {
  const rest = freshDigits(6)
  const [today, old] = [`+24166${rest}`, `+24106${rest}`]
  await live.sent(today, { channels: ['ussd'] })
  await live.sent(old, { channels: ['ussd'] })
  const [seen, other] = [await dialled(today), await dialled(old)].map(
    (screen) => /\d{6}/.exec(screen)?.[0],
  )
  expect(seen).toBeDefined()
  expect(other).toBeDefined()
  expect(seen).not.toBe(other)
})

test('another subscriber sees nothing', async () => {
  const rest = freshDigits(6)
  await live.sent(`+2250707${rest}`, { channels: ['ussd'] })
  expect(await dialled(`+2250507${rest}`)).not.toMatch(/\d{6}/)
})

test('a session that waits for no screen is answered in the words of its network', async () => {
  expect(await dial({ status: 'Success' })).toEqual({
    type: expect.stringMatching(/^text\/plain/),
    screen: 'END',
  })
})
