import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { Client } from 'pg'
import type { RateLimit } from '../../core/protection/protection'
import {
  type Limited,
  type LimitedSend,
  type SendLimits,
  type Taken,
  takeLimits,
  usualSendLimits,
} from '../../db/protection/limits'
import { createApp } from '../../db/apps/apps'
import type { Queries } from '../../db'
import { holdRecipient } from '../../db/recipients/recipients'
import { openRequest } from '../../db/requests/sends'
import { failNotStarted } from '../../db/requests/starts'
import { requestsOnly } from '../harness/requests'
import { sendInput } from '../harness/seed'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

const start = new Date('2026-03-02T12:00:00Z')
const after = (seconds: number) => new Date(start.getTime() + seconds * 1_000)
const wide: SendLimits = {
  recipient: [{ max: 900, seconds: 86_400 }],
  messages: [{ max: 900, seconds: 86_400 }],
}
let lastDigest = 0
const freshDigest = () => (++lastDigest).toString(16).padStart(32, '0')

class Full extends Error {}

/** A send that counts only where all of its windows have room, as in the service. */
async function take(send: LimitedSend, at?: Date): Promise<Taken | Limited> {
  let limited: Limited | undefined
  try {
    return await requests.db.transaction(async (tx: Queries) => {
      const result = await takeLimits(tx, requests.keyring, send, at)
      if (!('limit' in result)) return result
      limited = result
      throw new Full()
    })
  } catch (error) {
    if (error instanceof Full && limited) return limited
    throw error
  }
}

async function freshSend(limits: Partial<SendLimits> = {}, app = 'app'): Promise<LimitedSend> {
  const { kind, value } = requests.freshNumber()
  const { id } = await holdRecipient(requests.db, requests.keyring, { appId: app, kind, value })
  return {
    app,
    environment: 'staging',
    recipientId: id,
    number: value,
    limits: { ...wide, ...limits },
  }
}

/** Seconds after the first at which sends are taken, when one is tried every `step` seconds. */
async function takenAt(send: LimitedSend, until: number, step = 1): Promise<number[]> {
  const taken: number[] = []
  for (let second = 0; second < until; second += step)
    if (!('limit' in (await take(send, after(second))))) taken.push(second)
  return taken
}

describe('a sliding window', () => {
  test('is 3 in 60 s and 5 in 10 min for a recipient, and says to the second how long it takes', async () => {
    const send = await freshSend(usualSendLimits)
    for (const second of [0, 10, 20]) expect(await take(send, after(second))).toHaveProperty('at')
    const limit = 'recipient'
    expect(await take(send, after(21))).toEqual({ limit, retryAfterSeconds: 39 })
    expect(await take(send, after(59.5))).toEqual({ limit, retryAfterSeconds: 1 })
    expect(await take(send, after(60))).toHaveProperty('at')
    expect(await take(send, after(70))).toHaveProperty('at')
    expect(await take(send, after(200))).toEqual({ limit, retryAfterSeconds: 400 })
    expect(await take(send, after(599))).toMatchObject({ retryAfterSeconds: 1 })
    expect(await take(send, after(600))).toHaveProperty('at')
  })

  test('never has more in any span than its limit, however the sends come', async () => {
    const limits: RateLimit[] = [
      { max: 2, seconds: 7 },
      { max: 5, seconds: 40 },
    ]
    const taken = await takenAt(await freshSend({ recipient: limits }), 100)
    for (const { max, seconds } of limits) {
      const most = Math.max(
        ...taken.map((end) => taken.filter((t) => t > end - seconds && t <= end).length),
      )
      expect(most).toBe(max)
    }
  })

  test('goes by the database’s clock when it is told no time', async () => {
    const send = await freshSend({ recipient: [{ max: 1, seconds: 60 }] })
    expect(await take(send)).toHaveProperty('at')
    expect(await take(send)).toMatchObject({ limit: 'recipient', retryAfterSeconds: 60 })
    await requests.db.many(sql`update send_windows
      set sends = array(select t - interval '59.5 s' from unnest(sends) t) where recipient_id = ${send.recipientId}`)
    expect(await take(send)).toMatchObject({ retryAfterSeconds: 1 })
  })
})

describe('the windows of one send', () => {
  test('count all or none: what one refuses the others do not have', async () => {
    const ip = [{ digest: freshDigest(), limits: [{ max: 1, seconds: 60 }] }]
    const first = await freshSend({ ip })
    const second = await freshSend({ ip, recipient: [{ max: 1, seconds: 60 }] })
    expect(await take(first)).toHaveProperty('at')
    expect(await take(second)).toEqual({ limit: 'ip', retryAfterSeconds: 60 })
    expect(await take({ ...second, limits: { ...second.limits, ip: undefined } })).toHaveProperty(
      'at',
    )
  })

  test('the one with the longest wait is named', async () => {
    const send = await freshSend({
      recipient: [{ max: 1, seconds: 30 }],
      keys: [{ name: 'device', digest: freshDigest(), limits: [{ max: 1, seconds: 90 }] }],
    })
    await take(send, start)
    expect(await take(send, after(10))).toEqual({
      limit: 'key',
      key: 'device',
      retryAfterSeconds: 80,
    })
  })

  test('of an address or a name of the caller’s are the app’s own; those of another name are others', async () => {
    await createApp(requests.db, { id: 'neighbour', name: 'Neighbour' })
    const limits = [{ max: 1, seconds: 60 }]
    const ip = [{ digest: freshDigest(), limits }]
    const digest = freshDigest()
    const keys = [{ name: 'device', digest, limits }]
    expect(await take(await freshSend({ ip, keys }))).toHaveProperty('at')
    expect(await take(await freshSend({ ip }))).toMatchObject({ limit: 'ip' })
    expect(await take(await freshSend({ keys }))).toMatchObject({ limit: 'key' })
    expect(await take(await freshSend({ ip, keys }, 'neighbour'))).toHaveProperty('at')
    const other = [{ name: 'session', digest, limits }]
    expect(await take(await freshSend({ keys: other }))).toHaveProperty('at')
  })
})

describe('paced sends', () => {
  test('wait 30, then 60, then 120 s, and are told so', async () => {
    const send = await freshSend({ isPaced: true })
    expect(await take(send, start)).toMatchObject({ pauseSeconds: 30 })
    expect(await take(send, after(29.5))).toEqual({ limit: 'pacing', retryAfterSeconds: 1 })
    expect(await takenAt(await freshSend({ isPaced: true }), 500, 5)).toEqual([
      0, 30, 90, 210, 330, 450,
    ])
  })

  test('pauses are forgotten after ten minutes without a send', async () => {
    const send = await freshSend({ isPaced: true })
    for (const second of [0, 30, 90]) await take(send, after(second))
    expect(await take(send, after(90 + 600))).toMatchObject({ pauseSeconds: 30 })
  })
})

describe('with a request', () => {
  const windows = async () =>
    requests.db.many<{ name: string; sends: number; partners: string[] }>(sql`
      select split_part(name, '|', 1) as name, cardinality(sends) as sends, partners from send_windows
      where cardinality(sends) > 0 order by 1`)
  const protection = (limits: Partial<SendLimits>) => ({
    ...sendInput().protection,
    limits: { ...usualSendLimits, ...limits },
  })

  test('a run that could not start gives all of its windows back, and only what it took', async () => {
    const recipient = requests.freshNumber()
    const ip = [{ digest: freshDigest(), limits: [{ max: 2, seconds: 60 }] }]
    const keys = [{ name: 'device', digest: freshDigest(), limits: [{ max: 9, seconds: 60 }] }]
    const given = { protection: protection({ ip, keys }) }
    await requests.db.many(sql`delete from send_windows`)
    await requests.open(given)
    const before = await windows()
    expect(before.map(({ name }) => name)).toEqual(['ip', 'key', 'recipient'])

    const { requestId } = await requests.openUnstarted({ recipient, ...given })
    expect(await failNotStarted(requests.db, requestId, 'test')).toBe(true)
    expect(await windows()).toEqual(before)
    const again = sendInput({ recipient, ...given })
    expect(await openRequest(requests.db, requests.keyring, again)).toMatchObject({
      outcome: 'created',
    })
    expect(
      await openRequest(requests.db, requests.keyring, {
        ...again,
        ...{ requestId: `${again.requestId}2`, recipient: requests.freshNumber() },
      }),
    ).toMatchObject({ outcome: 'rate_limited', limit: 'ip' })
  })

  test('a solved challenge stands for the address', async () => {
    const ip = [{ digest: freshDigest(), limits: [{ max: 1, seconds: 60 }] }]
    await requests.open({ protection: protection({ ip }) })
    const over = sendInput({ recipient: requests.freshNumber(), protection: protection({ ip }) })
    const { db, keyring } = requests
    expect(await openRequest(db, keyring, over)).toMatchObject({ limit: 'ip' })
    const solved = { ...over, protection: { ...over.protection, isSolved: true } }
    expect(await openRequest(db, keyring, solved)).toMatchObject({ outcome: 'created' })
  })

  test('replays count nothing', async () => {
    const recipient = requests.freshNumber()
    const idempotency = { key: 'limits', body: Buffer.from('{}') }
    const given = { recipient, idempotency }
    await requests.open(given)
    for (let n = 0; n < 5; n++)
      expect(await requests.openUnstarted(given)).toMatchObject({ outcome: 'replayed' })
    expect(await requests.openUnstarted({ recipient })).toMatchObject({ outcome: 'repeated' })
  })
})

test('a flood for one address does not queue for its window', async () => {
  const ip = [{ digest: freshDigest(), limits: [{ max: 1, seconds: 60 }] }]
  await take(await freshSend({ ip }))
  const late = await freshSend({ ip })
  await requests.db.transaction(async (tx) => {
    await tx.many(sql`select from send_windows where name like ${`%${ip[0]?.digest}`} for update`)
    expect(await take(late)).toMatchObject({ limit: 'ip' })
  })
})

test('rows go when their last send has left the longest window', async () => {
  const recipient = [{ max: 5, seconds: 100 }]
  const send = await freshSend({ recipient })
  await take(send, start)
  expect(
    await requests.db.many(sql`select expires_at as "expiresAt" from send_windows
      where recipient_id = ${send.recipientId}`),
  ).toEqual([{ expiresAt: after(100) }])
})

test('what counted before the windows had names goes on counting', async () => {
  const older = await requestsOnly()
  const admin = new Client({ connectionString: older.adminUrl })
  await admin.connect()
  try {
    const { id } = await holdRecipient(older.db, older.keyring, {
      appId: 'app',
      ...older.freshNumber(),
    })
    // The table as it was.
    await admin.query(`drop table send_windows;
      drop function send_window_wait;
      create table send_windows (recipient_id text not null references recipients, environment key_environment not null,
        sends timestamptz(6)[] not null, constraint send_windows_recipient_id_environment_pk primary key (recipient_id, environment));
      grant all on send_windows to public`)
    await admin.query(
      `insert into send_windows select $1, 'staging', array[now() - interval '50 s', now() - interval '2 s']`,
      [id],
    )
    await admin.query(`insert into send_windows select $1, 'production', array[]::timestamptz[]`, [
      id,
    ])
    const file = join(__dirname, '..', '..', 'migrations', '0012_limits.sql')
    await admin.query(readFileSync(file, 'utf8').replaceAll('--> statement-breakpoint', ''))
    const send: LimitedSend = {
      app: 'app',
      environment: 'staging',
      recipientId: id,
      limits: usualSendLimits,
    }
    const results = [1, 2].map(() => takeLimits(older.db, older.keyring, send))
    expect((await Promise.all(results)).filter((result) => 'limit' in result)).toMatchObject([
      { limit: 'recipient' },
    ])
    const live = { ...send, environment: 'production' as const }
    expect(await takeLimits(older.db, older.keyring, live)).toHaveProperty('at')
  } finally {
    await admin.end()
    await older.close()
  }
})
