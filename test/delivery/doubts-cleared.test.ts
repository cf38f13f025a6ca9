import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { StatusAnswer } from '../../api/contract/status'
import { clientOf, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

/** The sandbox takes every message to it, whoever's, and drops the connection instead of answering. */
const dropping = '+233555000007'

const systems: System[] = []
const startWith = async (fakes: string[]): Promise<TestClient> => {
  const system = await startSystem({ fakes, steps: { sms: { timeoutMs: 12_000 } } })
  systems.push(system)
  return clientOf(system, system.liveKey)
}
afterAll(async () => {
  for (const system of systems) await system.stop()
})

type Attempts = StatusAnswer['steps'][number]['attempts']

/** Sends to the number, and gives what there is once the attempts are as expected, or are not in time. */
async function settled(client: TestClient, isSettled: (attempts: Attempts) => boolean) {
  // Without reports nothing but the provider's own word can end the doubt.
  await client.script(dropping, { accept: { drop: true }, receipt: 'none' })
  const id = await client.sent(dropping, { channels: ['sms'] })
  const attempts = await until(async () => {
    const made = (await client.status(id)).steps[0]?.attempts ?? []
    return made.every((one) => one.finished_at) && isSettled(made) && made
  })
  const inbox = await client.inbox(dropping)
  await client.call('POST', `/otp/${id}/cancel`)
  return { attempts, inbox }
}

describe('a call in doubt', () => {
  test.each(['twilio', 'infobip'])(
    '%s knows of the message: nothing is sent twice',
    async (name) => {
      const client = await startWith([name])
      const { attempts, inbox } = await settled(client, ([first]) => first?.in_doubt === false)
      expect(attempts).toMatchObject([{ provider: name, status: 'accepted' }])
      expect(inbox).toHaveLength(1)
    },
  )

  test('Arkesel cannot tell: one message too many, with the same code', async () => {
    const client = await startWith(['arkesel'])
    const { attempts, inbox } = await settled(client, ({ length }) => length === 2)
    expect(attempts).toMatchObject([{ in_doubt: true }, { in_doubt: true }])
    expect(inbox).toHaveLength(2)
    expect(new Set(inbox.map(({ code }) => code)).size).toBe(1)
  })
})

describe('a provider whose failures are not reported', () => {
  let client: TestClient
  beforeAll(async () => {
    client = await startWith(['arkesel'])
  })

  test('is asked, and the step ends long before its time', async () => {
    const phone = '+233555000011'
    const id = await client.sent(phone, { channels: ['sms'] })
    const step = await until(async () => {
      const [first] = (await client.status(id)).steps
      return first?.status === 'failed' && first
    })
    expect(step.attempts).toMatchObject([{ provider: 'arkesel' }])
    const { events } = await client.status(id)
    expect(events.find(({ type }) => type === 'receipt')?.detail.provider).toBe('arkesel')
  })
})
