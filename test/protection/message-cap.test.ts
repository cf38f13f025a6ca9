import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { globalIndex } from '../../codes/seal'
import { messageShare, usualMessageCap } from '../../core/protection/protection'
import { createApp } from '../../db/apps/apps'
import { closeOverdue } from '../../db/requests/ending'
import { openRequest } from '../../db/requests/sends'
import {
  acceptance,
  answer,
  claimed,
  type Given,
  openLive,
  plan,
  refusal,
  rig,
  stepOf,
  verdictOf,
} from '../harness/claims'
import { sendInput } from '../harness/seed'

describe('messages to one number', () => {
  const share = messageShare.max
  const cap = usualMessageCap[0]?.max ?? 0
  let apps = 0
  const freshApp = async () => {
    const id = `crowd-${++apps}`
    await createApp(rig.requests.db, { id, name: id })
    return id
  }
  const usual = sendInput().protection
  const wide = { ...usual, limits: { ...usual.limits, recipient: [{ max: 99, seconds: 60 }] } }
  /** The n-th message of an app to somebody: a request of its own, since a recipient's sends are limited. */
  const message = async (recipient: Given['recipient'], appId = 'app', given: Given = {}) => {
    return openLive({ recipient, appId, protection: wide, purpose: `p${++apps}`, ...given })
  }
  const windowOf = async (recipient: { value: string }) => {
    const name = `messages|production|${globalIndex(rig.requests.keyring, recipient.value).toString('hex')}`
    const row = await rig.requests.db.one<{ sends: number; partners: string[] }>(
      sql`select cardinality(sends) as sends, partners from send_windows where name = ${name}`,
    )
    return row ?? { sends: 0, partners: [] }
  }

  test('are counted where they are claimed, on each channel, and a send only asks for room', async () => {
    const recipient = rig.requests.freshNumber()
    const requestId = await message(recipient)
    expect(await windowOf(recipient)).toEqual({ sends: 0, partners: [] })
    await answer(await claimed(requestId), acceptance)
    await answer(await claimed(requestId, { sendNo: 2, step: 1, channel: 'voice' }), acceptance)
    expect(await windowOf(recipient)).toEqual({ sends: 2, partners: ['app', 'app'] })
  })

  test('a refusal gives its message back; what is accepted, in doubt or under way stays counted', async () => {
    const recipient = rig.requests.freshNumber()
    const requestId = await message(recipient)
    const refused = await claimed(requestId)
    expect((await windowOf(recipient)).sends).toBe(1)
    await answer(refused, refusal)
    expect((await windowOf(recipient)).sends).toBe(0)
    // Once, and not a message of somebody else's.
    await answer(refused, refusal)
    await answer(await claimed(requestId, { tryNo: 2 }), { state: 'in_doubt' })
    await answer(await claimed(requestId, { sendNo: 2, provider: 'two' }), acceptance)
    expect((await windowOf(recipient)).sends).toBe(2)
    // A doubt that turns out to be a refusal.
    const late = await claimed(requestId, { sendNo: 3, step: 1, channel: 'voice' })
    await answer(late, { state: 'in_doubt' })
    expect((await windowOf(recipient)).sends).toBe(3)
    await answer(late, refusal)
    expect((await windowOf(recipient)).sends).toBe(2)
  })

  test('are no more than the cap over all apps, however many are claimed at once', async () => {
    const recipient = rig.requests.freshNumber()
    const apps = await Promise.all(Array.from({ length: 5 }, freshApp))
    const perApp = 10
    const ids: string[] = []
    for (const app of apps) for (let n = 0; n < perApp; n++) ids.push(await message(recipient, app))
    const verdicts = await Promise.all(ids.map((id) => verdictOf(id)))
    const { sends, partners } = await windowOf(recipient)
    expect(verdicts.filter((verdict) => verdict === 'claimed')).toHaveLength(sends)
    expect(new Set(verdicts)).toEqual(new Set(['claimed', 'message_cap']))
    // Beyond the cap there is only what is kept for each app.
    const within = new Map(apps.map((app) => [app, partners.filter((one) => one === app).length]))
    for (const [, count] of within) expect(count).toBeGreaterThanOrEqual(share)
    expect(sends).toBeGreaterThanOrEqual(cap)
    expect(sends).toBeLessThanOrEqual(cap + share * (apps.length - 1))
  })

  test('one app cannot use up what is kept for another', async () => {
    const recipient = rig.requests.freshNumber()
    const [greedy, other] = [await freshApp(), await freshApp()]
    for (let n = 0; n < cap; n++) await claimed(await message(recipient, greedy))
    expect(await verdictOf(await message(recipient, other))).toBe('claimed')
    await expect(message(recipient, greedy)).rejects.toThrow('rate_limited')
    for (let n = 1; n < share; n++) await claimed(await message(recipient, other))
    await expect(message(recipient, other)).rejects.toThrow('rate_limited')
  })

  test('a step without room is skipped, in the audit with its reason, and the next may have room', async () => {
    const recipient = rig.requests.freshNumber()
    const cramped = {
      ...sendInput().protection,
      limits: { ...sendInput().protection.limits, messages: [{ max: 3, seconds: 3_600 }] },
    }
    const requestId = await message(recipient, 'app', { protection: cramped })
    for (let n = 0; n < 3; n++) await claimed(await message(recipient))
    expect(await verdictOf(requestId)).toBe('message_cap')
    expect(await verdictOf(requestId, { isMessage: false })).toBe('claimed')
    const told = await rig.requests.db.many<{ detail: object }>(sql`
      select detail from audit_events where chain = ${requestId} and type = 'step_skipped'`)
    expect(told.map(({ detail }) => detail)).toEqual([
      { step: 0, channel: 'sms', provider: 'one', reason: 'message_cap' },
    ])
    const row = await rig.requests.db.one(
      sql`select attempt_seq as attempts, audit_seq - (select count(*)::int from audit_events where chain = otp_requests.id) as gaps
        from otp_requests where id = ${requestId}`,
    )
    expect(row).toEqual({ attempts: 1, gaps: 0 })
  })

  test('a dial-to-read code and a test key’s are not counted, and the window’s name goes at the end', async () => {
    const recipient = rig.requests.freshNumber()
    await claimed(await message(recipient), { isMessage: false })
    const { requestId: test } = await rig.requests.open({ recipient, plan })
    await claimed(test, { isTestAccount: true })
    expect((await windowOf(recipient)).sends).toBe(0)
    const requestId = await message(recipient)
    const guard = async () =>
      (
        await rig.requests.db.one<{ guard: object | null }>(
          sql`select guard from otp_requests where id = ${requestId}`,
        )
      )?.guard
    expect(await guard()).toMatchObject({ window: { maxima: [12, 30] } })
    await rig.requests.shiftTime(requestId, 400)
    await closeOverdue(rig.requests.db, requestId, 'test')
    expect(await guard()).toBeNull()
  })

  test('a mailbox has a window too, whatever it is spelt like', async () => {
    const at = (value: string) => ({ kind: 'email' as const, value })
    const mail = { plan: [stepOf('email')], country: null }
    const by = { channel: 'email' as const }
    for (let n = 0; n < cap; n++)
      await claimed(await message(at(`a.da+${n}@gmail.com`), 'app', mail), by)
    await expect(message(at('ada@googlemail.com'), 'app', mail)).rejects.toThrow('rate_limited')
  })

  test('go on counting while the key of their window is replaced', async () => {
    const recipient = rig.requests.freshNumber()
    const { keyring } = rig.requests
    const old = keyring.active('global_index')
    const newer = { ...old, kid: 'newer', key: Buffer.alloc(old.key.length, 7) }
    const rotated: typeof keyring = {
      ...keyring,
      active: (purpose) => (purpose === 'global_index' ? newer : keyring.active(purpose)),
      all: (purpose) => (purpose === 'global_index' ? [newer, old] : keyring.all(purpose)),
    }
    const openRotated = (purpose: string) =>
      openRequest(rig.requests.db, rotated, {
        ...sendInput({ recipient, plan, purpose, protection: wide, environment: 'production' }),
      })
    for (let n = 0; n < cap - 1; n++) await claimed(await message(recipient))
    const [last, late] = [await openRotated('last'), await openRotated('late')]
    if (!('requestId' in last) || !('requestId' in late)) throw new Error('not opened')
    expect(await verdictOf(last.requestId)).toBe('claimed')
    expect(await verdictOf(late.requestId)).toBe('message_cap')
    expect(await openRotated('later')).toMatchObject({ limit: 'messages' })
  })
})
