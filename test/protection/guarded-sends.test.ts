import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { creditSends } from '../../db/protection/decisions'
import { liftBlock, raiseByHand } from '../../db/protection/blocks-by-hand'
import { openRequest } from '../../db/requests/sends'
import { untilLockIsAwaited } from '../harness/locks'
import { requestsOnly } from '../harness/requests'
import { sendInput } from '../harness/seed'

let requests: Awaited<ReturnType<typeof requestsOnly>>

beforeAll(async () => void (requests = await requestsOnly()))
afterAll(() => requests.close())

const send = (given: Parameters<typeof sendInput>[0]) =>
  openRequest(requests.db, requests.keyring, sendInput(given))

test('where blocks are not heeded, sends past them are counted and written down', async () => {
  await raiseByHand(requests.db, {
    ...requests.owner,
    scope: 'block',
    place: '+23350111',
    asks: 'block',
    actor: 'test',
  })
  const protection = {
    ...sendInput().protection,
    mode: 'block' as const,
    rules: { blocked: 'observe' as const },
  }
  const recipient = { kind: 'phone' as const, value: '+233501112222' }
  const opened = await send({ recipient, protection })
  if (opened.outcome !== 'created') throw new Error(opened.outcome)
  expect(
    await requests.db
      .many(sql`select verdict, matures_at is not null as counted, findings #>> '{0,rule}' as rule
      from send_decisions where request_id = ${opened.requestId}`),
  ).toEqual([{ verdict: 'allowed', counted: true, rule: 'blocked' }])
})

test('a block is lifted while its messages are being settled: neither waits for the other crosswise', async () => {
  const opened = await requests.open({ recipient: { kind: 'phone', value: '+233506667777' } })
  const name = 'staging|app|block|+23350666'
  const { id } = await raiseByHand(requests.db, {
    ...requests.owner,
    scope: 'block',
    place: '+23350666',
    asks: 'block',
    actor: 'test',
  })
  const lifted = await requests.db.transaction(async (tx) => {
    // As who settles: the decisions, then their scopes.
    await tx.many(sql`select from send_decisions where request_id = ${opened.requestId} for update`)
    const lift = liftBlock(requests.db, { id, actor: 'test' })
    lift.catch(() => undefined)
    await untilLockIsAwaited(requests.db)
    await tx.many(sql`update send_standings set failed = failed + 1 where name = ${name}`)
    return { lift }
  })
  expect(await lifted.lift).toMatchObject({ id, stands: false })
  expect(
    await requests.db.one(sql`select pending, failed from send_standings where name = ${name}`),
  ).toEqual({
    pending: 0,
    failed: 0,
  })
})

describe('a code that came back', () => {
  test('is counted while its recipient is being erased: neither waits for the other crosswise', async () => {
    const opened = await requests.open()
    const which = sql`request_id = ${opened.requestId}`
    const { counted } = await requests.db.transaction(async (tx) => {
      // As an erasure: the recipient, then the decisions.
      await tx.many(sql`select from recipients where id = (select recipient_id from otp_requests
        where id = ${opened.requestId}) for update`)
      const counted = creditSends(requests.db, [opened.requestId])
      counted.catch(() => undefined)
      await untilLockIsAwaited(requests.db)
      await tx.many(sql`update send_decisions set place = null where ${which}`)
      return { counted }
    })
    expect(await counted).toBe(1)
  })
})

describe('a resend', () => {
  const policy = { protection: { mode: { test: 'block' as const } } }
  /** A request whose first message went out a while ago. */
  const sentBefore = async (value: string) => {
    const opened = await requests.open({ recipient: { kind: 'phone', value } })
    await requests.claim(opened.requestId)
    await requests.db.many(sql`update attempts set claimed_at = claimed_at - interval '20 seconds'
      where request_id = ${opened.requestId}`)
    return { ...requests.owner, requestId: opened.requestId, actor: 'test' }
  }
  const blockPlaceOf = (value: string) =>
    raiseByHand(requests.db, {
      ...requests.owner,
      scope: 'block',
      place: value.slice(0, -4),
      asks: 'block',
      actor: 'test',
    })
  const refused = (value: string) =>
    requests.db.one(sql`select refused from send_blocks where label = ${value.slice(0, -4)}`)

  test('does not pass a block, and leaves nothing behind it', async () => {
    const number = '+233502223333'
    const wish = { ...(await sentBefore(number)), policy }
    await blockPlaceOf(number)
    expect(await requests.resend(wish)).toMatchObject({ outcome: 'protected', verdict: 'blocked' })
    expect(await refused(number)).toEqual({ refused: 1 })
    expect(
      await requests.db.one(
        sql`select sends, resend_seq as seq from otp_requests where id = ${wish.requestId}`,
      ),
    ).toEqual({ sends: 1, seq: 0 })
    // The first one's code is right all the same.
    const code = await requests.codeOf(wish.requestId)
    expect(await requests.check(wish.requestId, code)).toMatchObject({ outcome: 'verified' })
  })

  test('of somebody who came back before passes', async () => {
    const number = '+233502224444'
    const wish = { ...(await sentBefore(number)), policy }
    await requests.db.many(sql`insert into recipient_verifications
      select recipient_id, environment, now() from otp_requests where id = ${wish.requestId}`)
    await blockPlaceOf(number)
    expect(await requests.resend(wish)).toMatchObject({ outcome: 'done', sends: 2 })
  })

  test('counts where its message goes', async () => {
    const number = '+233504445555'
    const wish = { ...(await sentBefore(number)), policy }
    await requests.resend(wish)
    const row = await requests.db.one<{ pending: number }>(sql`
      select pending from send_standings where name = ${`staging|app|block|${number.slice(0, -4)}`}`)
    expect(row?.pending).toBeCloseTo(2, 1)
  })
})
