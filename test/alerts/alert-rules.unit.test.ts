import { describe, expect, test } from '@jest/globals'
import { judgeApp, judgeDelivery } from '../../core/alerts/app-rules'
import type { AppFigures } from '../../core/alerts/figures'
import { judgeProvider, judgeRoute, usualSla } from '../../core/alerts/provider-rules'
import type { AlertRule } from '../../core/alerts/rule'
import { growth } from '../../core/histogram'

const steady = (sends: number, days = 14) =>
  Array.from({ length: days + 1 }, (_, day) => ({
    day,
    hour: sends,
    before: sends,
    half: 12 * sends,
  }))

/** An app in its everyday life: 40 sends an hour, of which 80 % come back. */
const everyday: AppFigures = {
  appId: 'shop',
  environment: 'production',
  country: 'GH',
  days: steady(40),
  oldest: 359,
  sends: 80,
  refused: 0,
  locked: 0,
  due: 110,
  reached: 107,
  matured: 140,
  converted: 112,
  sendsSix: 240,
  weekSends: 6_720,
  weekRefused: 20,
  weekLocked: 10,
  weekMatured: 6_700,
  weekConverted: 5_360,
  users: 20_000,
}

const judge = (given: Partial<AppFigures>, others: Partial<AppFigures> = {}) => {
  const country = { ...everyday, ...given }
  const all = { ...country, country: '', ...others }
  return new Map(
    judgeApp(all, [country]).map(({ rule, subject, ...rest }) => [
      `${rule}${subject && ` ${subject}`}`,
      rest,
    ]),
  )
}
const stateOf = (name: `${AlertRule}${'' | ' GH'}`, ...given: Parameters<typeof judge>) =>
  judge(...given).get(name)?.state

test('in everyday life no rule fires, and each that can judge says that all is well', () => {
  expect([...judge({})].map(([name, { state }]) => [name, state])).toEqual([
    ['delivery_rate', 'recovers'],
    ['volume_spike', 'recovers'],
    ['lockout_wave', 'recovers'],
    ['refusal_wave', 'recovers'],
    ['volume_spike GH', 'recovers'],
    ['conversion_drop GH', 'recovers'],
    ['geographic_anomaly GH', 'recovers'],
  ])
})

describe('delivery rate', () => {
  test.each([
    [29, 0, undefined],
    [30, 23, 'fires'],
    // Chance may do this to a route that delivers 95 of 100.
    [30, 26, 'holds'],
    [110, 107, 'recovers'],
    [200, 179, 'fires'],
    [200, 180, 'holds'],
    [200, 184, 'recovers'],
  ])('of %i messages %i arrived: %s', (due, reached, state) => {
    expect(stateOf('delivery_rate', { due, reached })).toBe(state)
  })
  test('where less than half arrives it is critical', () => {
    expect(judgeDelivery(99, 200)?.severity).toBe('critical')
    expect(judgeDelivery(100, 200)?.severity).toBe('warning')
  })
})

describe('conversion', () => {
  test.each([
    // 48 % is 60 % of the usual 80: the interval must end below.
    [140, 40, 'fires'],
    [140, 60, 'holds'],
    [140, 85, 'recovers'],
    [19, 0, undefined],
    [20, 2, 'fires'],
  ])('of %i codes %i came back: %s', (matured, converted, state) => {
    expect(stateOf('conversion_drop GH', { matured, converted })).toBe(state)
  })
  test('where codes seldom come back, or few are known, there is nothing to fall from', () => {
    expect(stateOf('conversion_drop GH', { converted: 0, weekConverted: 1_000 })).toBeUndefined()
    expect(
      stateOf('conversion_drop GH', { converted: 0, weekMatured: 99, weekConverted: 80 }),
    ).toBeUndefined()
  })
})

describe('geography', () => {
  const unknown = { users: 2, weekSends: 0, weekMatured: 0, weekConverted: 0 }
  test('sends to where nobody has come back from, and nobody comes back now', () => {
    const pumped = { ...unknown, sendsSix: 15, matured: 12, converted: 1 }
    expect(judge(pumped, everyday).get('geographic_anomaly GH')).toMatchObject({
      state: 'fires',
      severity: 'critical',
    })
    expect(stateOf('geographic_anomaly GH', { ...pumped, sendsSix: 14 }, everyday)).toBe('holds')
    expect(stateOf('geographic_anomaly GH', { ...pumped, sendsSix: 7 }, everyday)).toBe('recovers')
    expect(stateOf('geographic_anomaly GH', { ...pumped, users: 3 }, everyday)).toBe('holds')
    // New users that come back are what a business hopes for.
    expect(stateOf('geographic_anomaly GH', { ...pumped, converted: 8 }, everyday)).toBe('recovers')
  })
  test('a country whose part of the traffic jumps', () => {
    const jumped = { sendsSix: 100, weekSends: 100 }
    expect(stateOf('geographic_anomaly GH', jumped, { ...everyday, sendsSix: 400 })).toBe('fires')
    expect(stateOf('geographic_anomaly GH', jumped, { ...everyday, sendsSix: 401 })).toBe('holds')
    expect(
      stateOf(
        'geographic_anomaly GH',
        { ...jumped, weekSends: 400 },
        { ...everyday, sendsSix: 400 },
      ),
    ).toBe('holds')
    // An app that has just begun has no usual parts.
    expect(
      stateOf('geographic_anomaly GH', jumped, { ...everyday, sendsSix: 400, weekSends: 199 }),
    ).not.toBe('fires')
  })
})

describe('volume', () => {
  const today = (given: { hour?: number; before?: number; half?: number }, usual = 40) =>
    steady(usual).map((day) => (day.day === 0 ? { ...day, ...given } : day))
  test('five times the usual hour, and more than 50', () => {
    expect(stateOf('volume_spike', { days: today({ hour: 201 }) })).toBe('fires')
    expect(stateOf('volume_spike', { days: today({ before: 201 }) })).toBe('fires')
    expect(stateOf('volume_spike', { days: today({ hour: 200 }) })).toBe('holds')
    expect(stateOf('volume_spike', { days: today({ hour: 120 }) })).toBe('recovers')
    expect(judge({ days: today({ hour: 401 }) }).get('volume_spike')?.severity).toBe('critical')
    // A small app that never sends at night.
    expect(stateOf('volume_spike', { days: today({ hour: 50 }, 0) })).toBe('recovers')
    expect(stateOf('volume_spike', { days: today({ hour: 51 }, 0) })).toBe('fires')
  })
  test('six sigma, and more than 1,000 in twelve hours', () => {
    const usual = 100
    // A sigma is a tenth of 1,200 here, since the days are all alike.
    expect(stateOf('volume_spike', { days: today({ half: 1_921 }, usual) })).toBe('fires')
    expect(stateOf('volume_spike', { days: today({ half: 1_920 }, usual) })).toBe('holds')
    expect(stateOf('volume_spike', { days: today({ half: 1_560 }, usual) })).toBe('recovers')
    expect(stateOf('volume_spike', { days: today({ half: 1_000 }, 40) })).toBe('recovers')
    expect(stateOf('volume_spike', { days: today({ half: 1_001 }, 40) })).toBe('fires')
  })
  test('an attack yesterday does not hide one today', () => {
    const days = today({ hour: 201 }).map((day) => (day.day === 1 ? { ...day, hour: 9_000 } : day))
    expect(stateOf('volume_spike', { days })).toBe('fires')
  })
  test('nothing is usual before three days', () => {
    expect(stateOf('volume_spike', { days: today({ hour: 9_000 }), oldest: 71 })).toBeUndefined()
    expect(stateOf('volume_spike', { days: today({ hour: 9_000 }), oldest: 72 })).toBe('fires')
  })
})

test('a wave of locked requests', () => {
  expect(stateOf('lockout_wave', { locked: 10 })).toBe('fires')
  expect(stateOf('lockout_wave', { locked: 9 })).toBe('holds')
  expect(stateOf('lockout_wave', { locked: 4 })).toBe('recovers')
  // 420 in a week are five in two hours.
  expect(stateOf('lockout_wave', { locked: 24, weekLocked: 420 })).toBe('holds')
  expect(stateOf('lockout_wave', { locked: 25, weekLocked: 420 })).toBe('fires')
  expect(judge({ locked: 100 }).get('lockout_wave')?.severity).toBe('critical')
})

test('a wave of refusals', () => {
  expect(stateOf('refusal_wave', { refused: 50 })).toBe('fires')
  expect(stateOf('refusal_wave', { refused: 49 })).toBe('holds')
  expect(stateOf('refusal_wave', { refused: 60, sends: 1_000 })).toBe('recovers')
  expect(stateOf('refusal_wave', { refused: 10 })).toBe('recovers')
})

describe('providers', () => {
  const route = {
    provider: 'acme',
    channel: 'sms',
    country: 'GH',
    reached: 100,
    due: 200,
    accepted: 900,
    reported: 800,
  } as const
  test('a route whose messages do not arrive', () => {
    expect(judgeRoute(route, 'production')).toMatchObject({
      appId: null,
      rule: 'delivery_rate',
      subject: 'acme sms GH',
      state: 'fires',
      detail: { rate: 0.5, messages: 200, provider: 'acme', channel: 'sms', country: 'GH' },
    })
    expect(judgeRoute({ ...route, reached: 190 }, 'production')?.state).toBe('recovers')
    // Mail servers report on nothing: that no report came says nothing.
    expect(judgeRoute({ ...route, reported: 449 }, 'production')).toBeUndefined()
  })
  const well = {
    provider: 'acme',
    good: 200,
    bad: 0,
    acceptMs: {},
    open: [],
    openSeconds: 0,
  } as const
  const slow = { [String(Math.ceil(Math.log(6_000) / Math.log(growth)))]: 30 }
  test.each([
    ['all well', {}, 'recovers', 'warning'],
    ['two of 200 pings failed', { good: 198, bad: 2 }, 'holds', 'warning'],
    ['three did', { good: 197, bad: 3 }, 'fires', 'warning'],
    ['thirty did', { good: 170, bad: 30 }, 'fires', 'critical'],
    ['too few pings to say', { good: 0, bad: 19 }, 'recovers', 'warning'],
    ['calls take six seconds', { acceptMs: slow }, 'fires', 'warning'],
    ['a breaker opened just now', { open: ['sms'] as const, openSeconds: 119 }, 'holds', 'warning'],
    ['a breaker stays open', { open: ['sms'] as const, openSeconds: 120 }, 'fires', 'critical'],
  ])('%s', (_, given, state, severity) => {
    const figures = { ...well, ...given }
    const judged = judgeProvider(figures, { environment: 'production', sla: usualSla })
    expect(judged).toMatchObject({ rule: 'provider_sla', subject: 'acme', state, severity })
  })
})
