import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { maxJoinedPages } from '../../core/requests/page-request'
import { sumAppHours } from '../../db/alerts/app-hours'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { pagesOf, wrongFor } from '../harness/pages'
import { startSystem, type System } from '../harness/system'
import { shown } from '../harness/visitor'

let system: System
let operator: TestClient
let pages: Awaited<ReturnType<typeof pagesOf>>

beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  operator = clientOf(system, system.operatorKey)
  pages = await pagesOf(system)
})
afterAll(async () => {
  await system?.stop()
})

const visitor: typeof pages.visitor = (...given) => pages.visitor(...given)
const codeFor: typeof pages.codeFor = (...given) => pages.codeFor(...given)
const sendFrom: typeof pages.sendFrom = (...given) => pages.sendFrom(...given)
const check: typeof pages.check = (...given) => pages.check(...given)
const view: typeof pages.view = (...given) => pages.view(...given)
const sharedBy: typeof pages.sharedBy = (...given) => pages.sharedBy(...given)
const later: typeof pages.later = (...given) => pages.later(...given)

describe('a stranger who sends to a number before its owner checks', () => {
  test('cannot end the owner’s code: five wrong checks end the stranger’s request alone', async () => {
    const phone = freshPhone()
    const owner = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    await later()
    const stranger = await sendFrom(visitor(), phone)
    expect(stranger.id).not.toBe(owner.id)
    expect(await sharedBy(stranger.id)).toBe(await sharedBy(owner.id))
    for (let turn = 0; turn < 5; turn++)
      expect(shown(await check(stranger, wrongFor(code)))).toBe('200 INVALID_CODE')
    // Nor is the right one taken there any more, or told from a wrong one.
    const refusals = [await check(stranger, code), await check(stranger, wrongFor(code))]
    expect(refusals[0]?.body).toEqual(refusals[1]?.body)
    expect(await view(stranger.id)).toMatchObject({
      state: 'locked',
      reason: 'too_many_checks',
      checks: { used: 5, max: 5 },
    })
    expect(await view(owner.id)).toMatchObject({ state: 'pending', checks: { used: 0, max: 5 } })
    expect(await view(await sharedBy(owner.id))).toMatchObject({
      state: 'pending',
      checks: { used: 0, max: 5 },
    })

    const checked = await check(owner, code)
    expect(checked.body).toMatchObject({ status: 'verified', request_id: owner.id })
    expect(await view(owner.id)).toMatchObject({ state: 'verified', proof: checked.body.proof })
    expect((await view(stranger.id)).state).toBe('locked')
  })

  test('cannot pass for the owner, whoever of them sent first', async () => {
    for (const isFirst of [true, false]) {
      const phone = freshPhone()
      const first = await sendFrom(visitor(), phone)
      await later()
      const second = await sendFrom(visitor(), phone)
      const [owner, stranger] = isFirst ? [first, second] : [second, first]
      const code = await codeFor(phone)
      const { body: told } = await check(owner, code)
      const elsewhere = await view(stranger.id)
      expect(elsewhere).toMatchObject({ state: 'cancelled', reason: 'verified_elsewhere' })
      expect(elsewhere).not.toHaveProperty('proof')
      expect(shown(await check(stranger, code))).toBe('200 INVALID_CODE')
      const shared = await view(await sharedBy(owner.id))
      expect(shared).toMatchObject({
        state: 'verified',
        page_request_id: owner.id,
        proof: told.proof,
      })
      expect((await view(owner.id)).proof).toBe(told.proof)
    }
  })

  test('cannot keep the owner from a request by spending the limits of the number', async () => {
    const phone = freshPhone()
    const stranger = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    // At once, within every pause.
    const page = visitor()
    const joined = await sendFrom(page, phone)
    expect(joined).toMatchObject({ resend: 'already_sending' })
    expect(joined.id).not.toBe(stranger.id)
    expect(await sharedBy(joined.id)).toBe(await sharedBy(stranger.id))
    expect(await pages.backEnd.inbox(phone)).toHaveLength(1)
    expect(shown(await check(joined, code))).toBe('200 verified')
  })

  test('has as many ids of one request as it may have at most, then the limit holds', async () => {
    const phone = freshPhone()
    await sendFrom(visitor(), phone)
    const answers = await Promise.all(
      Array.from({ length: maxJoinedPages + 5 }, () => visitor().send(phone)),
    )
    const tally = answers.map(shown).toSorted()
    expect(tally).toEqual([
      ...Array.from({ length: maxJoinedPages - 1 }, () => '200 sent'),
      ...Array.from({ length: 6 }, () => '429 RATE_LIMITED'),
    ])
    const ids = answers.flatMap(({ body }) => (body.status === 'sent' ? [body.request_id] : []))
    expect(new Set(ids).size).toBe(maxJoinedPages - 1)
  })

  test('meets the limit of the address all the same', async () => {
    const phone = freshPhone()
    const page = visitor()
    const answers = []
    for (let send = 0; send < 11; send++) answers.push(shown(await page.send(phone)))
    expect(answers.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => '200 sent'))
    expect(answers[10]).toBe('429 RATE_LIMITED')
  })

  test('guesses in the recipient’s budget, however many ids it has', async () => {
    const phone = freshPhone()
    const opened = [await sendFrom(visitor(), phone)]
    const code = await codeFor(phone)
    for (let turn = 0; turn < 3; turn++) opened.push(await sendFrom(visitor(), phone))
    for (const one of opened) for (let turn = 0; turn < 5; turn++) await check(one, wrongFor(code))
    const row = await system.db.one<{ wrong: number }>(sql`
      select cardinality(wrong) as wrong from check_budgets b join otp_requests r using (recipient_id, environment)
      where r.id = ${await sharedBy(opened[0]?.id ?? '')}`)
    // Ten an hour pass without a challenge.
    expect(row).toEqual({ wrong: 10 })
    const last = await sendFrom(visitor(), phone)
    expect(shown(await check(last, code))).toBe('200 INVALID_CODE')
    const solved = { challenge: await last.page.solve() }
    const checked = await last.page.verify({ request_id: last.id, code, ...solved })
    expect(shown(checked)).toBe('200 verified')
  })

  test('shows in the figures that alerts are judged by, although no request is locked', async () => {
    const lockedIn = async () => {
      await sumAppHours(system.db, new Date(Date.now() + 120_000))
      const row = await system.db.one<{ locked: number }>(
        sql`select coalesce(sum(locked), 0)::int as locked from app_hours`,
      )
      return row?.locked ?? 0
    }
    const before = await lockedIn()
    const phone = freshPhone()
    const stranger = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    for (let turn = 0; turn < 5; turn++) await check(stranger, wrongFor(code))
    expect(await view(await sharedBy(stranger.id))).toMatchObject({ state: 'pending' })
    await system.db.many(sql`update app_hours set summed_at = summed_at - interval '1 hour'`)
    expect(await lockedIn()).toBe(before + 1)
  })

  test('leaves the owner’s page with the code of the request that takes its place', async () => {
    const phone = freshPhone()
    const owner = await sendFrom(visitor(), phone)
    const old = await codeFor(phone)
    const shared = await sharedBy(owner.id)
    // More than half of its life is over, and nothing was sent just now.
    await system.db
      .many(sql`update otp_requests set created_at = created_at - interval '160 seconds',
      expires_at = expires_at - interval '160 seconds' where id = ${shared}`)
    await system.db.many(
      sql`update attempts set claimed_at = claimed_at - interval '160 seconds' where request_id = ${shared}`,
    )
    await later(160)
    await sendFrom(visitor(), phone)
    expect((await view(shared)).state).toBe('cancelled')
    const code = await codeFor(phone, old)
    expect(await view(owner.id)).toMatchObject({ state: 'pending' })
    expect(shown(await check(owner, code))).toBe('200 verified')
  })
})

describe('at once', () => {
  test('of 40 checks through one page five are looked at, and none of another page’s is taken', async () => {
    const phone = freshPhone()
    const owner = await sendFrom(visitor(), phone)
    const code = await codeFor(phone)
    const stranger = await sendFrom(visitor(), phone)
    const guess = () => pages.backEnd.verify({ request_id: stranger.id, code: wrongFor(code) })
    const answers = await Promise.all(Array.from({ length: 40 }, guess))
    const tally = answers.map(shown)
    expect(tally.filter((word) => word === '200 INVALID_CODE')).toHaveLength(5)
    expect(tally.filter((word) => word === '429 LOCKED')).toHaveLength(35)
    const rows = await system.db.many(sql`select id, checks from page_requests
      where request_id = ${await sharedBy(owner.id)} order by created_at`)
    expect(rows).toEqual([
      { id: owner.id, checks: 0 },
      { id: stranger.id, checks: 5 },
    ])
    expect(shown(await check(owner, code))).toBe('200 verified')
  })

  test('the right code through six pages verifies one of them', async () => {
    const phone = freshPhone()
    const opened = [await sendFrom(visitor(), phone)]
    for (let turn = 0; turn < 5; turn++) opened.push(await sendFrom(visitor(), phone))
    const code = await codeFor(phone)
    const answers = await Promise.all(opened.map((one) => check(one, code)))
    expect(answers.map(shown).toSorted()).toEqual([
      ...Array.from({ length: 5 }, () => '200 INVALID_CODE'),
      '200 verified',
    ])
    const states = await Promise.all(opened.map(async ({ id }) => (await view(id)).reason))
    expect(states.map(String).toSorted()).toEqual([
      'code_matched',
      ...Array.from({ length: 5 }, () => 'verified_elsewhere'),
    ])
  })
})

describe('a send that something else refuses too', () => {
  test('joins nothing: a block, and a number that nothing is live for', async () => {
    const phone = freshPhone()
    await sendFrom(visitor(), phone)
    await system.db
      .many(sql`update otp_requests set expires_at = now(), created_at = now() - interval '5 minutes'
      where state = 'pending'`)
    expect(shown(await visitor().send(phone))).toBe('429 RATE_LIMITED')

    const blocked = freshPhone()
    await sendFrom(visitor(), blocked)
    const wish = {
      app_id: 'app',
      environment: 'staging',
      scope: 'block',
      prefix: blocked.slice(0, -4),
    }
    expect((await operator.call('POST', '/admin/blocks', wish)).status).toBe(200)
    Object.assign(system.policy, { protection: { mode: { test: 'block' } } })
    try {
      expect(shown(await visitor().send(blocked))).toBe('429 RATE_LIMITED')
    } finally {
      Object.assign(system.policy, { protection: {} })
    }
  })
})
