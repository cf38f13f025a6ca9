import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { breaker } from '../../core/delivery/breaker'
import { faults } from '../../core/delivery/fault'
import {
  askBreaker,
  closeBreaker,
  closeByPing,
  failProbe,
  noteFault,
  openByPing,
  releaseProbe,
  unhealthyProviders,
} from '../../db/delivery/breakers'
import { auditTools } from '../harness/audit'
import { requestsOnly } from '../harness/requests'

let rig: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  rig = await requestsOnly()
})
afterAll(() => rig.close())

let count = 0
/** An account that no other test uses. */
let target: { provider: string; channel: 'sms' }
beforeEach(() => {
  target = { provider: `account-${++count}`, channel: 'sms' }
})

const fault = async (given: Partial<Parameters<typeof noteFault>[1]> = {}) => {
  const { askedAt } = await askBreaker(rig.db, target)
  return noteFault(rig.db, { ...target, fault: 'unavailable', begunAt: askedAt, ...given })
}
const open = async () => {
  for (let times = 0; times < breaker.faults; times++) await fault()
}
/** As if the clock had gone on: everything that the breaker remembers is older. */
const pass = (seconds: number) => {
  const back = (column: string) => sql.raw(`${column} = ${column} - interval '${seconds} seconds'`)
  return rig.db.many(sql`update provider_breakers set ${back('probe_at')}, ${back('leased_until')},
    ${back('opened_at')}, ${back('closed_at')},
    faults = array(select t - make_interval(secs => ${seconds}) from unnest(faults) t)
    where provider = ${target.provider}`)
}
const isShut = async () => {
  const { open: isOpen, probe } = await askBreaker(rig.db, target)
  return isOpen && probe === null
}
const audit = (provider = target.provider) =>
  rig.db.many<{ type: string; detail: Record<string, unknown> }>(sql`
    select type, detail from audit_events where chain = 'admin' and detail->>'provider' = ${provider}
    order by sequence`)
const typesOf = async () => (await audit()).map(({ type }) => type)

describe('opening', () => {
  test('five faults in a minute open it, four do not', async () => {
    for (let times = 1; times < breaker.faults; times++) expect(await fault()).toBe(false)
    expect(await isShut()).toBe(false)
    expect(await fault()).toBe(true)
    expect(await isShut()).toBe(true)
    expect(await unhealthyProviders(rig.db)).toContain(`${target.provider}/sms`)
    expect(await audit()).toEqual([
      {
        type: 'breaker_opened',
        detail: { provider: target.provider, channels: 'sms', fault: 'unavailable' },
      },
    ])
  })

  test('faults that are more than a minute apart do not add up', async () => {
    for (let times = 1; times < breaker.faults; times++) await fault()
    await pass(breaker.windowSeconds + 1)
    for (let times = 1; times < breaker.faults; times++) expect(await fault()).toBe(false)
  })

  test.each(faults.map((name) => [name] as const))('what %s says of the account', async (name) => {
    const counts = ['throttled', 'unavailable', 'in_doubt'].includes(name)
    expect(await fault({ fault: name })).toBe(name === 'config')
    for (let times = 1; times < 20; times++) await fault({ fault: name })
    expect(await isShut()).toBe(counts || name === 'config')
  })

  test('another channel of the account goes on', async () => {
    await fault({ fault: 'config' })
    const voice = await askBreaker(rig.db, { ...target, channel: 'voice' })
    expect(voice).toMatchObject({ open: false, probe: null })
  })

  test('a hundred faults at once open it once', async () => {
    const { askedAt: begunAt } = await askBreaker(rig.db, target)
    const notes = Array.from({ length: 100 }, () =>
      noteFault(rig.db, { ...target, fault: 'unavailable', begunAt }),
    )
    const opened = (await Promise.all(notes)).filter(Boolean)
    expect(opened).toHaveLength(1)
    expect(await typesOf()).toEqual(['breaker_opened'])
  })

  test('a call that began before the breaker closed says nothing about the account since', async () => {
    const { askedAt: begunAt } = await askBreaker(rig.db, target)
    await open()
    await closeBreaker(rig.db, target)
    expect(await fault({ begunAt, fault: 'config' })).toBe(false)
    expect(await isShut()).toBe(false)
    expect(await fault({ fault: 'config' })).toBe(true)
  })

  test('nor does one of hours ago, of which a receipt comes now', async () => {
    const begunAt = new Date(Date.now() - (breaker.freshSeconds + 60) * 1_000)
    expect(await fault({ begunAt, fault: 'config' })).toBe(false)
    expect(await isShut()).toBe(false)
  })
})

describe('the probe', () => {
  test('is not due before the pause is over; then the account is not avoided any more', async () => {
    await open()
    await pass(breaker.firstPauseSeconds - 5)
    expect(await isShut()).toBe(true)
    await pass(6)
    expect(await unhealthyProviders(rig.db)).not.toContain(`${target.provider}/sms`)
    expect(await askBreaker(rig.db, target)).toMatchObject({ open: true, probe: 1 })
    expect(await unhealthyProviders(rig.db)).toContain(`${target.provider}/sms`)
  })

  test('is one of a hundred who ask at once', async () => {
    await open()
    await pass(breaker.firstPauseSeconds + 1)
    const asked = await Promise.all(Array.from({ length: 100 }, () => askBreaker(rig.db, target)))
    expect(asked.filter(({ probe }) => probe !== null)).toHaveLength(1)
    expect(asked.every((state) => state.open)).toBe(true)
  })

  test('whose process died is made by another after the lease', async () => {
    await open()
    await pass(breaker.firstPauseSeconds + 1)
    const lost = await askBreaker(rig.db, target)
    await pass(breaker.leaseSeconds + 1)
    const next = await askBreaker(rig.db, target)
    expect([lost.probe, next.probe]).toEqual([1, 2])
    // The lost one comes back after all: the other one's lease is not its business.
    await failProbe(rig.db, { ...target, probe: 1, fault: 'unavailable' })
    await releaseProbe(rig.db, { ...target, probe: 1 })
    expect(await isShut()).toBe(true)
  })

  test('that failed doubles the pause, up to the longest, and writes no audit row', async () => {
    await open()
    const pauses = [30, 60, 120, 240, 480, 480, 480]
    for (const pause of pauses) {
      await pass(pause - 5)
      expect(await isShut()).toBe(true)
      await pass(6)
      const { probe } = await askBreaker(rig.db, target)
      expect(probe).not.toBeNull()
      await failProbe(rig.db, { ...target, probe: probe ?? 0, fault: 'in_doubt' })
    }
    expect(await typesOf()).toEqual(['breaker_opened'])
  })

  test('that showed nothing leaves the turn to the next call', async () => {
    await open()
    await pass(breaker.firstPauseSeconds + 1)
    const { probe } = await askBreaker(rig.db, target)
    await releaseProbe(rig.db, { ...target, probe: probe ?? 0 })
    expect(await askBreaker(rig.db, target)).toMatchObject({ open: true, probe: 2 })
  })

  test('that went through closes it, once; it takes five faults again to open', async () => {
    await open()
    await pass(breaker.firstPauseSeconds + 1)
    const closed = await Promise.all(Array.from({ length: 20 }, () => closeBreaker(rig.db, target)))
    expect(closed.filter(Boolean)).toHaveLength(1)
    expect(await askBreaker(rig.db, target)).toMatchObject({ open: false, probe: null })
    expect(await typesOf()).toEqual(['breaker_opened', 'breaker_closed'])
    for (let times = 1; times < breaker.faults; times++) expect(await fault()).toBe(false)
    expect(await fault()).toBe(true)
  })
})

test('the lease of a probe outlives a call that a policy gives very long', async () => {
  await open()
  await pass(breaker.firstPauseSeconds + 1)
  expect(await askBreaker(rig.db, { ...target, callTimeoutMs: 100_000 })).toMatchObject({
    probe: 1,
  })
  await pass(101)
  expect(await isShut()).toBe(true)
  await pass(50)
  expect(await isShut()).toBe(false)
})

describe('health pings', () => {
  const channels = ['sms', 'voice', 'whatsapp'] as const

  test('of an account that the file gives a channel twice opens it once', async () => {
    const { provider } = target
    const channels = ['sms', 'sms', 'voice'] as const
    const opened = await openByPing(rig.db, { provider, channels, fault: 'unavailable' })
    expect(opened.toSorted()).toEqual(['sms', 'voice'])
  })

  test('open what is closed, with one audit row, and close again what they opened', async () => {
    const { provider } = target
    await open()
    expect(await openByPing(rig.db, { provider, channels, fault: 'in_doubt' })).toEqual([
      'voice',
      'whatsapp',
    ])
    expect(await openByPing(rig.db, { provider, channels, fault: 'in_doubt' })).toEqual([])
    expect(await closeByPing(rig.db, provider)).toEqual(['voice', 'whatsapp'])
    expect(await closeByPing(rig.db, provider)).toEqual([])
    // What calls had opened is tried by the next call.
    expect(await askBreaker(rig.db, target)).toMatchObject({ open: true, probe: 1 })
    expect((await audit()).map(({ type, detail }) => [type, detail['channels']])).toEqual([
      ['breaker_opened', 'sms'],
      ['breaker_opened', 'voice, whatsapp'],
      ['breaker_closed', 'voice, whatsapp'],
    ])
  })
})

test('all of it stands in the installation’s chain without a gap', async () => {
  const tools = auditTools(rig)
  await tools.seal()
  expect((await tools.verify()).findings.filter(({ kind }) => kind !== 'root_late')).toEqual([])
})

test('a closed breaker is only read', async () => {
  await fault()
  const before = await rig.db.one<{ writes: string }>(
    sql`select xmin::text as writes from provider_breakers where provider = ${target.provider}`,
  )
  for (let times = 0; times < 10; times++) await askBreaker(rig.db, target)
  const after = await rig.db.one(
    sql`select xmin::text as writes from provider_breakers where provider = ${target.provider}`,
  )
  expect(after).toEqual(before)
})
