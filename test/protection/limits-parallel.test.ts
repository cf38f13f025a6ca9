import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createDatabase, type Database } from '../../db'
import { usualSendLimits } from '../../db/protection/limits'
import { openRequest, type SendDecision } from '../../db/requests/sends'
import { requestsOnly } from '../harness/requests'
import { sendInput } from '../harness/seed'

let requests: Awaited<ReturnType<typeof requestsOnly>>
/** The pools of two processes. */
let pools: [Database, Database]

beforeAll(async () => {
  requests = await requestsOnly()
  pools = [requests.db, createDatabase(requests.url)]
})
afterAll(async () => {
  await pools[1].close()
  await requests.close()
})

/** What 300 sends come to, by turns over both pools, as many at once as these have connections. */
async function atOnce(given: (n: number) => Parameters<typeof sendInput>[0]) {
  const decide = (n: number): Promise<SendDecision> =>
    openRequest(pools[n % 2 === 0 ? 0 : 1], requests.keyring, sendInput(given(n)))
  const decisions: SendDecision[] = []
  let next = 0
  const caller = async () => {
    while (next < 300) decisions.push(await decide(next++))
  }
  await Promise.all(Array.from({ length: 40 }, caller))
  const words = decisions.map((decision) =>
    decision.outcome === 'rate_limited' ? decision.limit : decision.outcome,
  )
  return Object.fromEntries(
    [...Map.groupBy(words, String)].map(([word, all]) => [word, all.length]),
  )
}

test('300 sends to one recipient: three count', async () => {
  const recipient = requests.freshNumber()
  expect(await atOnce(() => ({ recipient }))).toEqual({ created: 1, repeated: 2, recipient: 297 })
})

test('300 sends for one address: five count, and what the others took is given back', async () => {
  const protection = {
    ...sendInput().protection,
    limits: {
      ...usualSendLimits,
      ip: [{ digest: 'ab'.repeat(16), limits: [{ max: 5, seconds: 60 }] }],
      keys: [{ name: 'device', digest: 'cd'.repeat(16), limits: [{ max: 6, seconds: 60 }] }],
    },
  }
  const given = () => ({ recipient: requests.freshNumber(), protection })
  expect(await atOnce(given)).toEqual({ created: 5, ip: 295 })
  // The sixth of the device is still to be had.
  const elsewhere = { ...protection, limits: { ...protection.limits, ip: undefined } }
  expect(await atOnce(() => ({ ...given(), protection: elsewhere }))).toEqual({
    created: 1,
    key: 299,
  })
})
