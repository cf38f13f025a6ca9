import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import {
  type Doubt,
  type Message,
  ProviderFault,
  type Sender,
  StaleClaim,
} from '../../providers/provider'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { asSuperuser } from '../harness/database'
import { startSystem, type System } from '../harness/system'

let system: System
let client: TestClient
let temporal: Client
/** What was handed to a provider, and what it does with it. */
let calls: { message: Message; at: number }[]
let answer: Sender['send']

beforeAll(async () => {
  system = await startSystem({ steps: { sms: { timeoutMs: 15_000 } } })
  client = clientOf(system)
  temporal = new Client({ connection: await Connection.connect(system.temporal.connection) })
  const send: Sender['send'] = (message, signal) => {
    calls.push({ message, at: performance.now() })
    return answer(message, signal)
  }
  for (const [name, account] of system.accounts) {
    system.accounts.set(name, { ...account, sender: { send } })
  }
})
beforeEach(async () => {
  calls = []
  // Faults of one test make no account unhealthy for the next.
  await system.db.many(
    sql`update provider_breakers set open = false, faults = '{}', closed_at = clock_timestamp()`,
  )
})
afterAll(async () => {
  await temporal.connection.close()
  await system.stop()
})

const accepted = async () => ({ providerMessageId: 'm1' })
const sendSms = () => client.sent(freshPhone(), { channels: ['sms'] })
const attemptsOf = async (id: string) => (await client.status(id)).steps[0]?.attempts
const isAccepted = async (id: string) =>
  until(async () => (await attemptsOf(id))?.at(-1)?.status === 'accepted', { within: 20_000 })

test('a claim that grew old before the first byte is claimed again, and the call goes on', async () => {
  answer = async ({ notAfter }) => {
    if (calls.length > 1) return accepted()
    await pause(notAfter - performance.now() + 10)
    throw new StaleClaim()
  }
  const id = await sendSms()
  await isAccepted(id)
  expect(calls).toHaveLength(2)
  expect(await attemptsOf(id)).toHaveLength(1)
  const { events } = await client.status(id)
  expect(events.map(({ type }) => type)).toContain('attempt_reclaimed')
})

test('a claim that cannot be renewed is no fault of the account', async () => {
  await asSuperuser(system.adminUrl, [
    `create function stumble() returns trigger language plpgsql as $$ begin raise 'as if Postgres stumbled'; end $$`,
    'create trigger stumble before update of claimed_at on attempts for each row execute function stumble()',
  ])
  answer = async ({ notAfter }) => {
    if (calls.length > 1) return accepted()
    await pause(notAfter - performance.now() + 10)
    throw new StaleClaim()
  }
  try {
    const id = await sendSms()
    await isAccepted(id)
    expect(await attemptsOf(id)).toMatchObject([{ fault: 'unavailable' }, { status: 'accepted' }])
    expect(
      await system.db.many(sql`select provider from provider_breakers where faults <> '{}'`),
    ).toEqual([])
  } finally {
    await asSuperuser(system.adminUrl, ['drop trigger stumble on attempts'])
  }
})

test('what no provider should throw reaches Temporal in our words only', async () => {
  answer = async ({ to, code }) => {
    if (calls.length === 1) throw new RangeError(`${to} does not take ${code}`)
    return accepted()
  }
  const id = await sendSms()
  const history = await until(async () => {
    const text = JSON.stringify(await temporal.workflow.getHandle(id).fetchHistory())
    return text.includes('sendCode failed; the worker') && text
  })
  const { to, code } = calls[0]?.message ?? {}
  expect(history).toContain('RangeError')
  expect(history).not.toContain(to?.slice(1))
  expect(history).not.toContain(code)
  // Nobody knows what became of that call, so it is in doubt, and repeated.
  await isAccepted(id)
  expect(calls).toHaveLength(2)
})

test('Retry-After: 0 does not do away with the pauses between tries', async () => {
  answer = async () => {
    if (calls.length > 3) return accepted()
    throw new ProviderFault('throttled', 'Not now.', { retryAfterMs: 0 })
  }
  await isAccepted(await sendSms())
  const [, second, third, fourth] = calls.map(({ at }) => at)
  // The first provider hands over to the second at once; that one is tried again after 1 s and 2 s.
  expect((third ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(950)
  expect((fourth ?? 0) - (third ?? 0)).toBeGreaterThanOrEqual(1_950)
})

test('a call gets no more time than the budget of its step has left', async () => {
  const given: number[] = []
  answer = (_message, signal) =>
    new Promise((_resolve, reject) => {
      const from = performance.now()
      signal.addEventListener('abort', () => {
        given.push(performance.now() - from)
        reject(new ProviderFault('in_doubt', 'No answer.'))
      })
    })
  await sendSms()
  await until(async () => given.length === 2, { within: 20_000 })
  // Of 5 s in all: 2.5 s for a call, 1 s for a receipt of it to come, the rest for the one that repeats it.
  expect(given[0]).toBeGreaterThan(2_300)
  expect(given[1]).toBeLessThan(1_700)
})

test('a doubt that is over when its message would go out again is not repeated', async () => {
  answer = async () => {
    throw new ProviderFault('in_doubt', 'No answer.')
  }
  let asked = 0
  // As an execution that writes down what the provider knows, and dies before it says so.
  const reconcile = async ({ attemptId }: Doubt) => {
    asked++
    await system.db
      .many(sql`update attempts set state = 'accepted', status = 'accepted', status_rank = 1
      where id = ${attemptId}`)
    throw new Error('as if the worker had died')
  }
  const accounts = [...system.accounts]
  for (const [name, account] of accounts)
    system.accounts.set(name, { ...account, reconciler: { reconcile } })
  try {
    const id = await sendSms()
    await until(
      async () => {
        const { events } = await temporal.workflow.getHandle(id).fetchHistory()
        const ended = (events ?? []).filter((event) => event.activityTaskCompletedEventAttributes)
        return ended.length === 2
      },
      { within: 20_000 },
    )
    expect({ asked, calls: calls.length }).toEqual({ asked: 1, calls: 1 })
    expect(await attemptsOf(id)).toMatchObject([{ status: 'accepted', in_doubt: false }])
  } finally {
    for (const [name, account] of accounts) system.accounts.set(name, account)
  }
})
