import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { clientOf, freshDigits, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

// One subscriber under two spellings that are both taken: what a person wants no more holds for both.

let system: System
let live: TestClient
beforeAll(async () => {
  system = await startSystem({
    fakes: ['twilio'],
    channels: ['sms'],
    steps: { sms: { providers: ['twilio'] } },
  })
  live = clientOf(system, system.liveKey)
})
afterAll(() => system.stop())

const freshSubscriber = (): [today: string, old: string] => {
  const rest = freshDigits(6)
  return [`+24166${rest}`, `+24106${rest}`]
}
const withdraw = (phone_number: string) => live.call('POST', '/consent/withdraw', { phone_number })
const answerOf = async (phone: string, given: Record<string, unknown> = {}) => {
  const { status, body } = await live.send(phone, given)
  return status === 200 ? 'sent' : `${status} ${body.error_code}`
}
const stop = async (phone: string) => {
  await until(async () => (await live.inbox(phone)).length > 0, { what: 'the message' })
  const url = `${system.sandboxUrl}/phones/${encodeURIComponent(phone)}/messages`
  const headers = { 'content-type': 'application/json' }
  return fetch(url, { method: 'POST', headers, body: JSON.stringify({ text: 'STOP' }) })
}

test('a withdrawal ends the live requests of both, and bars both', async () => {
  const [today, old] = freshSubscriber()
  const ids = [await live.sent(today), await live.sent(old)]
  expect((await withdraw(old)).body).toMatchObject({ requests_cancelled: 2 })
  for (const id of ids) expect((await live.status(id)).state).toBe('cancelled')
  expect([await answerOf(today), await answerOf(old)]).toEqual(['403 BLOCKED', '403 BLOCKED'])
  const consent = { text_version: 'w', given_at: new Date().toISOString() }
  expect([await answerOf(today, { consent }), await answerOf(old)]).toEqual(['sent', 'sent'])
})

test('a withdrawal of a number that no code was sent to yet bars the other spelling', async () => {
  const [today, old] = freshSubscriber()
  await withdraw(today)
  expect(await answerOf(old)).toBe('403 BLOCKED')
})

test.each([
  ['a withdrawal', withdraw],
  ['a STOP', stop],
])(
  '%s at the moment of sends to both: afterwards nothing is live',
  async (_what, say) => {
    for (let round = 0; round < 8; round++) {
      const [today, old] = freshSubscriber()
      if (say === stop) await live.sent(today, { purpose: 'first' })
      const sends = ['a', 'b'].flatMap((purpose) => [
        live.send(old, { purpose }),
        live.send(today, { purpose }),
      ])
      const [said, ...answers] = await Promise.all([say(today), ...sends])
      expect(said.status).toBeLessThan(300)
      for (const { status, body } of answers) {
        expect([200, 403]).toContain(status)
        if (status === 200) expect((await live.status(body.request_id)).state).toBe('cancelled')
      }
    }
  },
  60_000,
)

test('an erasure of one forgets the other', async () => {
  const [today, old] = freshSubscriber()
  const id = await live.sent(old)
  const erased = await clientOf(system, system.operatorKey).call('POST', '/admin/erasures', {
    phone_number: today,
  })
  expect([erased.status, erased.body]).toMatchObject([200, { erased: { requests: 1 } }])
  expect(await live.status(id)).toMatchObject({ state: 'cancelled', reason: 'erased' })
})
