import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { type Rig, startRig } from '../harness/rig'

let rig: Rig
let client: TestClient
beforeAll(async () => {
  rig = await startRig({ workers: 4 })
  client = clientOf(rig)
}, 120_000)
afterAll(() => rig.stop(), 60_000)

const sent: string[] = []
/** Sends to so many people at once; each must be answered with 200 and get its SMS. */
async function sendTo(people: number): Promise<void> {
  const ids = await Promise.all(
    Array.from({ length: people }, () => client.sent(freshPhone(), { channels: ['sms'] })),
  )
  sent.push(...ids)
  await Promise.all(ids.map(isDelivered))
}
const isDelivered = (id: string) =>
  until(async () => (await client.status(id)).steps[0]?.status === 'succeeded', {
    within: 60_000,
    what: `the SMS of ${id}`,
  })
const toFirst = () =>
  rig.provider.paths.filter((path) => path === '/providers/sandbox-a/messages').length
/** The breaker of SMS; pings may open and close those of other channels beside it. */
const audit = async () =>
  (
    await rig.db.many<{ type: string }>(sql`
      select type from audit_events where chain = 'admin' and detail->>'provider' = 'sandbox-a'
        and detail->>'channels' ~ 'sms' order by sequence`)
  ).map(({ type }) => type)
/** As if the pause were over; a look at it is a second old at most. */
async function pauseIsOver(): Promise<void> {
  await rig.db
    .many(sql`update provider_breakers set probe_at = clock_timestamp(), leased_until = null
    where provider = 'sandbox-a' and channel = 'sms' and open`)
  await pause(1_200)
}

test('an outage behind four workers: nobody is left without a code, one opening, one probe at a time, one closing', async () => {
  await client.script('sandbox-a', { accept: { status: 503 } })
  await sendTo(30)
  expect(await audit()).toEqual(['breaker_opened'])

  // Open: nobody calls the account any more.
  const whileOpen = toFirst()
  await sendTo(20)
  expect(toFirst()).toBe(whileOpen)

  // The pause is over, the outage is not: one of twenty finds out for all of them.
  await pauseIsOver()
  await sendTo(20)
  expect(toFirst()).toBe(whileOpen + 1)
  await sendTo(10)
  expect(toFirst()).toBe(whileOpen + 1)
  expect(await audit()).toEqual(['breaker_opened'])

  // Recovered: the next probe opens the way for everybody.
  await client.script('sandbox-a', {})
  await pauseIsOver()
  await sendTo(20)
  expect(await audit()).toEqual(['breaker_opened', 'breaker_closed'])
  // A look at the breakers is a second old at most.
  await pause(1_200)
  const recovered = toFirst()
  await sendTo(10)
  expect(toFirst()).toBe(recovered + 10)
  expect(await audit()).toEqual(['breaker_opened', 'breaker_closed'])

  const lost = await rig.db.many(sql`select id from otp_requests
    where not id in (select request_id from attempts where status = 'delivered')`)
  expect(lost).toEqual([])
  expect(sent).toHaveLength(110)
  expect(rig.crashes).toEqual([])
}, 300_000)
