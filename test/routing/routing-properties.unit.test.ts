import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { type Channel, channels } from '../../core/channel'
import { decideChannel, decideRoute, type RouteQuestion } from '../../core/routing/decide'
import type { ProviderChoice, RoutingPolicy } from '../../core/routing/policy'
import { orderByWeight } from '../../core/routing/share'
import { type Risk, risks } from '../../core/protection/risk'

const phoneChannels: Channel[] = ['sms', 'voice', 'whatsapp', 'ussd']

describe('whatever the policy and the question', () => {
  const names = ['a', 'b', 'c', 'd']
  const someChannels = fc.uniqueArray(fc.constantFrom(...phoneChannels), { minLength: 1 })
  const choice: fc.Arbitrary<ProviderChoice> = fc.oneof(
    fc.constantFrom('cheapest' as const, 'best' as const),
    fc.uniqueArray(fc.constantFrom(...names, '*'), { minLength: 1 }),
    fc.dictionary(fc.constantFrom(...names, '*'), fc.integer({ min: 0, max: 5 }), { minKeys: 1 }),
  )
  const providers = fc.dictionary(fc.constantFrom<Channel>(...channels), choice)
  const rule = fc.record(
    {
      name: fc.string(),
      when: fc.record(
        {
          countries: fc.array(fc.constantFrom('GH', 'KE', 'DE', 'africa')),
          prefixes: fc.array(fc.constantFrom('+233', '+49', '+23324')),
          risk: fc.array(fc.constantFrom<Risk>(...risks)),
        },
        { requiredKeys: [] },
      ),
      channels: someChannels,
      providers,
    },
    { requiredKeys: ['name'] },
  )
  const price = fc.record(
    {
      provider: fc.constantFrom(...names),
      channel: fc.constantFrom<Channel>(...channels),
      to: fc.constantFrom('GH', '+233', '+49'),
      amount: fc.constantFrom('0.1', '0.20', '0.3'),
    },
    { requiredKeys: ['channel', 'amount'] },
  )
  const anyPolicy: fc.Arbitrary<RoutingPolicy> = fc.record({
    channels: fc.record({ phone: someChannels, email: fc.constant(['email' as const]) }),
    countryGroups: fc.constant({ africa: ['GH', 'KE'] }),
    rules: fc.array(rule, { maxLength: 4 }),
    providers,
    costs: fc.record({ currency: fc.constant('USD'), prices: fc.array(price, { maxLength: 6 }) }),
  })
  const anyAccount = fc.record({
    name: fc.constantFrom(...names),
    channels: someChannels,
    test: fc.boolean(),
    usable: fc.constantFrom<Channel[]>([], ['sms'], [...phoneChannels]),
    region: fc.constantFrom(undefined, 'eu'),
  })
  const anyQuestion: fc.Arbitrary<RouteQuestion> = fc.record({
    kind: fc.constant('phone' as const),
    wish: fc.record(
      {
        channels: someChannels,
        channel: fc.constantFrom(...phoneChannels),
        preference: fc.constantFrom(...phoneChannels),
      },
      { requiredKeys: [] },
    ),
    country: fc.constantFrom('GH', 'KE', 'DE'),
    number: fc.constantFrom('+233241234567', '+254712345678', '+4915123456789'),
    risk: fc.constantFrom<Risk>(...risks),
    app: fc.constant('app'),
    environment: fc.constantFrom('production', 'staging', 'development'),
    region: fc.constantFrom(null, 'eu'),
    accounts: fc.uniqueArray(anyAccount, { selector: ({ name }) => name }),
    unhealthy: fc.uniqueArray(fc.constantFrom('a/sms', 'b/sms', 'c/voice', 'd')),
    record: fc.array(
      fc.record({
        provider: fc.constantFrom(...names),
        channel: fc.constantFrom(...phoneChannels),
        country: fc.constantFrom('GH', 'DE'),
        calls: fc.constantFrom(3, 20, 500),
        rate: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    ),
    share: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })

  test('a plan holds only what can be reached, nothing twice, and unhealthy accounts last', () => {
    fc.assert(
      fc.property(anyPolicy, anyQuestion, (its, asked) => {
        const { plan, channels: verdicts } = decideRoute(its, asked)
        const used = plan.map(({ channel }) => channel)
        expect(new Set(used).size).toBe(used.length)
        for (const { channel, providers } of plan) {
          expect(providers.length).toBeGreaterThan(0)
          expect(new Set(providers).size).toBe(providers.length)
          for (const name of providers) {
            const its = asked.accounts.find((account) => account.name === name)
            expect(its?.usable).toContain(channel)
            expect(its?.channels).toContain(channel)
            expect(its?.test).toBe(asked.environment !== 'production')
            if (asked.region !== null) expect(its?.region).toBe(asked.region)
          }
          const unhealthy = [...asked.unhealthy]
          const isIll = (name: string) =>
            unhealthy.includes(`${name}/${channel}`) || unhealthy.includes(name)
          const ill = providers.map(isIll)
          expect(ill).toEqual(ill.toSorted((a, b) => Number(a) - Number(b)))
        }
        // Every channel has a verdict, and every account of a judged channel one of its own.
        expect(new Set(verdicts.map(({ channel }) => channel))).toEqual(new Set(phoneChannels))
      }),
      { numRuns: 500 },
    )
  })

  test('a list asked for is followed exactly, as far as it can be reached', () => {
    fc.assert(
      fc.property(anyPolicy, anyQuestion, someChannels, (its, asked, list) => {
        const { plan } = decideRoute(its, { ...asked, wish: { ...asked.wish, channels: list } })
        const reachable = list.filter((channel) => decideChannel(its, channel, asked).step)
        expect(plan.map(({ channel }) => channel)).toEqual(reachable)
      }),
    )
  })

  test('a channel asked for comes first where it can be reached, before preference and risk', () => {
    fc.assert(
      fc.property(
        anyPolicy,
        anyQuestion,
        fc.constantFrom(...phoneChannels),
        (its, asked, channel) => {
          const { plan } = decideRoute(its, { ...asked, wish: { channel, preference: 'sms' } })
          if (decideChannel(its, channel, asked).step) expect(plan[0]?.channel).toBe(channel)
        },
      ),
    )
  })

  test('at low risk no channel stands before a cheaper one', () => {
    fc.assert(
      fc.property(anyPolicy, anyQuestion, (its, asked) => {
        const unruled = { ...its, rules: [] }
        const { channels: verdicts } = decideRoute(unruled, { ...asked, wish: {}, risk: 'low' })
        const costs = verdicts.filter(({ step }) => step).map(({ cost }) => Number(cost ?? 99))
        expect(costs).toEqual(costs.toSorted((a, b) => a - b))
      }),
    )
  })

  test('weights leave nobody out and put those of 0 last', () => {
    const weights = fc.array(fc.tuple(fc.uuid(), fc.integer({ min: 0, max: 1_000 })))
    const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(weights, share, (list, drawn) => {
        const ordered = orderByWeight(list, drawn)
        expect(ordered.toSorted()).toEqual(list.map(([name]) => name).toSorted())
        const last = list.filter(([, weight]) => weight === 0).map(([name]) => name)
        expect(last).toEqual(last.length > 0 ? ordered.slice(-last.length) : [])
      }),
    )
  })
})
