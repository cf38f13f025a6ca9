import { describe, expect, test } from '@jest/globals'
import type { Channel } from '../../core/channel'
import { stepDefaults } from '../../core/requests/plan'
import { costOf, type Price } from '../../core/routing/cost'
import { decideChannel, decideRoute, type RouteQuestion } from '../../core/routing/decide'
import { obstacles, whyChannel, whyProvider } from '../../core/routing/explain'
import type { ProviderChoice, RoutingPolicy } from '../../core/routing/policy'
import type { RouteAccount } from '../../core/routing/providers'
import { shareOf } from '../../core/routing/share'

const phoneChannels: Channel[] = ['sms', 'voice', 'whatsapp', 'ussd']
const account = (name: string, given: Partial<RouteAccount> = {}): RouteAccount => ({
  name,
  channels: [...phoneChannels],
  test: false,
  usable: given.channels ?? [...phoneChannels],
  ...given,
})
const policy: RoutingPolicy = {
  channels: { phone: phoneChannels, email: ['email'] },
  countryGroups: { africa: ['GH', 'KE', 'NG'] },
  rules: [
    {
      name: 'africa at stake',
      when: { countries: ['africa'], risk: ['high'] },
      channels: ['voice', 'sms', 'ussd', 'whatsapp'],
    },
    { name: 'mtn', when: { prefixes: ['+23324'] }, providers: { sms: ['b', 'a'] } },
    { name: 'shop', when: { apps: ['shop'] }, steps: { sms: { timeoutMs: 20_000 } } },
    {
      name: 'ghana',
      when: { countries: ['GH'] },
      providers: { sms: ['a', '*'], ussd: ['a'] },
      steps: { sms: { success: 'verified', timeoutMs: 45_000 } },
    },
    {
      name: 'africa',
      when: { countries: ['africa'] },
      channels: ['sms', 'ussd', 'voice', 'whatsapp'],
    },
  ],
  costs: {
    currency: 'USD',
    prices: [
      { channel: 'sms', amount: '0.03' },
      { channel: 'voice', amount: '0.07' },
      { channel: 'whatsapp', amount: '0.01' },
      { provider: 'a', channel: 'sms', to: 'GH', amount: '0.005' },
    ],
  },
}
const question = (given: Partial<RouteQuestion> = {}): RouteQuestion => ({
  kind: 'phone',
  wish: {},
  country: 'DE',
  number: '+4915123456789',
  risk: 'normal',
  app: 'app',
  environment: 'production',
  region: null,
  accounts: [account('a'), account('b')],
  unhealthy: [],
  record: [],
  share: 0,
  ...given,
})
const ghana = { country: 'GH', number: '+233201234567' }
const channelsOf = (given: Partial<RouteQuestion>, its = policy) =>
  decideRoute(its, question(given)).plan.map(({ channel }) => channel)
const providersOf = (given: Partial<RouteQuestion>, its = policy, channel: Channel = 'sms') =>
  decideRoute(its, question(given)).plan.find((step) => step.channel === channel)?.providers

describe('the order of channels', () => {
  test.each<[string, Partial<RouteQuestion>, Channel[]]>([
    ['is the policy’s', {}, ['sms', 'voice', 'whatsapp', 'ussd']],
    ['is the country’s', ghana, ['sms', 'ussd', 'voice', 'whatsapp']],
    ['is that of its group', { country: 'KE' }, ['sms', 'ussd', 'voice', 'whatsapp']],
    ['begins with the cheapest at low risk', { risk: 'low' }, ['whatsapp', 'sms', 'voice', 'ussd']],
    [
      'goes by the prices of that country at low risk',
      { ...ghana, risk: 'low' },
      ['sms', 'whatsapp', 'voice', 'ussd'],
    ],
    [
      'begins with voice and WhatsApp at high risk',
      { risk: 'high' },
      ['voice', 'whatsapp', 'sms', 'ussd'],
    ],
    [
      'is as said by a rule for the risk itself',
      { ...ghana, risk: 'high' },
      ['voice', 'sms', 'ussd', 'whatsapp'],
    ],
    [
      'begins with the preference, whatever the risk',
      { wish: { preference: 'sms' }, risk: 'high' },
      ['sms', 'voice', 'whatsapp', 'ussd'],
    ],
    [
      'begins with the channel asked for, whatever is preferred',
      { wish: { channel: 'ussd', preference: 'voice' }, ...ghana },
      ['ussd', 'sms', 'voice', 'whatsapp'],
    ],
    [
      'is exactly the list asked for, whatever else is said',
      {
        wish: { channels: ['whatsapp', 'sms'], channel: 'voice', preference: 'ussd' },
        risk: 'high',
      },
      ['whatsapp', 'sms'],
    ],
    ['has one channel when one is asked for', { wish: { channels: ['voice'] } }, ['voice']],
    [
      'knows no country for e-mail',
      {
        ...{ kind: 'email', country: null, number: undefined, risk: 'high' },
        accounts: [account('mail', { channels: ['email'] })],
      },
      ['email'],
    ],
    [
      'leaves out what no account can serve',
      { accounts: [account('a', { channels: ['ussd', 'sms'] })] },
      ['sms', 'ussd'],
    ],
  ])('%s', (_, given, expected) => {
    expect(channelsOf(given)).toEqual(expected)
  })

  test('ignores a preference that the policy does not have', () => {
    const its = { ...policy, rules: [], channels: { phone: ['sms', 'voice'], email: [] } } as const
    expect(channelsOf({ wish: { preference: 'whatsapp' } }, its)).toEqual(['sms', 'voice'])
    expect(channelsOf({ wish: { channel: 'whatsapp' } }, its)).toEqual(['whatsapp', 'sms', 'voice'])
  })

  test('is left alone by a risk where the policy says so, and changed where it says how', () => {
    const its: RoutingPolicy = { ...policy, risk: { high: 'policy', normal: ['ussd'] } }
    expect(channelsOf({ risk: 'high' }, its)).toEqual(['sms', 'voice', 'whatsapp', 'ussd'])
    expect(channelsOf({ risk: 'normal' }, its)).toEqual(['ussd', 'sms', 'voice', 'whatsapp'])
  })

  test('puts what has no price behind, in the policy’s order', () => {
    expect(channelsOf({ risk: 'low' }, { ...policy, costs: undefined })).toEqual(phoneChannels)
    const costs = { currency: 'USD', prices: [{ channel: 'ussd' as const, amount: '0.5' }] }
    expect(channelsOf({ risk: 'low' }, { ...policy, costs })).toEqual([
      ...['ussd', 'sms', 'voice', 'whatsapp'],
    ])
  })
})

describe('the providers of a channel', () => {
  const weigh = (sms: ProviderChoice): RoutingPolicy => ({
    ...policy,
    rules: [],
    providers: { sms },
  })
  const three = { accounts: ['a', 'b', 'c'].map((name) => account(name)) }

  test.each<[string, Partial<RouteQuestion>, string[]]>([
    ['are those of the file in its order', {}, ['a', 'b']],
    ['are those that the first rule names', { country: 'GH', number: '+233241234567' }, ['b', 'a']],
    ['are all, where the rule has a star', { ...ghana, ...three }, ['a', 'b', 'c']],
    ['have the unhealthy ones last', { unhealthy: ['a/sms'] }, ['b', 'a']],
    ['are not judged by another channel', { unhealthy: ['a/voice'] }, ['a', 'b']],
    ['are kept when all are unhealthy', { unhealthy: ['b/sms', 'a/sms'] }, ['a', 'b']],
  ])('%s', (_, given, expected) => {
    expect(providersOf(given)).toEqual(expected)
  })

  test('are exactly those of a list without a star', () => {
    expect(providersOf({ ...ghana, ...three }, policy, 'ussd')).toEqual(['a'])
    expect(providersOf({ ...ghana, accounts: [account('b')] }, policy, 'ussd')).toBeUndefined()
  })

  test('stand where the star stands', () => {
    expect(providersOf(three, weigh(['c', '*', 'a']))).toEqual(['c', 'b', 'a'])
  })

  test('go by price, those without one last', () => {
    const prices: Price[] = [
      { provider: 'b', channel: 'sms', amount: '0.2' },
      { provider: 'c', channel: 'sms', amount: '0.10' },
    ]
    const its = { ...weigh('cheapest'), costs: { currency: 'EUR', prices } }
    expect(providersOf(three, its)).toEqual(['c', 'b', 'a'])
  })

  test('go by what they achieved there of late, who is new as if it were good', () => {
    const route = { channel: 'sms' as const, country: 'DE', calls: 20 }
    const record = [
      { ...route, provider: 'a', rate: 0.4 },
      { ...route, provider: 'b', rate: 0.9 },
      { ...route, provider: 'c', rate: 0.1, country: 'GH' },
      { ...route, provider: 'c', rate: 0.1, calls: 19 },
    ]
    expect(providersOf({ ...three, record }, weigh('best'))).toEqual(['c', 'b', 'a'])
    // A weight counts as much less as it fails.
    const its = weigh({ a: 5, b: 2 })
    const firsts = (given: Partial<RouteQuestion>) =>
      Array.from({ length: 10 }, (_, i) => providersOf({ ...given, share: i / 10 }, its)?.[0])
    const ofA = (names: (string | undefined)[]) => names.filter((name) => name === 'a').length
    expect(ofA(firsts(three))).toBeGreaterThan(ofA(firsts({ ...three, record })))
  })

  test('share requests after their weights, the same way for the same request', () => {
    const first = new Map<string | undefined, number>()
    for (let i = 0; i < 4_000; i++) {
      const share = shareOf(`otp_${i}`)
      const providers = providersOf({ ...three, share }, weigh({ a: 3, b: 1, '*': 0 }))
      expect(providers).toHaveLength(3)
      expect(providers?.[2]).toBe('c')
      first.set(providers?.[0], (first.get(providers?.[0]) ?? 0) + 1)
      expect(providersOf({ ...three, share }, weigh({ a: 3, b: 1, '*': 0 }))).toEqual(providers)
    }
    // 3,000 are expected; the standard deviation is 27.
    expect(first.get('a')).toBeGreaterThan(2_850)
    expect(first.get('a')).toBeLessThan(3_150)
    expect(first.get('c')).toBeUndefined()
  })

  test.each<[string, Partial<RouteQuestion>, string[]]>([
    ['a live key reaches no test account', { environment: 'production' }, ['live']],
    ['a test key reaches nothing else', { environment: 'staging' }, ['try']],
    ['an app of a region reaches its own', { environment: 'production', region: 'eu' }, []],
  ])('%s', (_, given, expected) => {
    const accounts = [account('live'), account('try', { test: true, region: 'eu' })]
    expect(providersOf({ ...given, accounts }, { ...policy, rules: [] }) ?? []).toEqual(expected)
  })
})

describe('the settings of a step', () => {
  const stepFor = (given: Partial<RouteQuestion>, its = policy) =>
    decideRoute(its, question(given)).plan.find(({ channel }) => channel === 'sms')

  test('are the usual ones where nothing is said', () => {
    expect(stepFor({})).toEqual({ channel: 'sms', providers: ['a', 'b'], ...stepDefaults.sms })
  })

  test('come field by field from the first rule that says something', () => {
    expect(stepFor({ ...ghana, app: 'shop' })).toMatchObject({
      timeoutMs: 20_000,
      success: 'verified',
      onDoubt: 'resend',
    })
  })

  test('may name accounts whose receipts are worth less; a rule’s word counts before the general one', () => {
    const steps = { sms: { successBy: { b: 'accepted' as const } } }
    const its: RoutingPolicy = { ...policy, steps }
    expect(stepFor({}, its)).toMatchObject({ success: 'delivered', successBy: { b: 'accepted' } })
    expect(stepFor(ghana, its)?.successBy).toBeUndefined()
    expect(stepFor({ accounts: [account('a')] }, its)?.successBy).toBeUndefined()
  })
})

describe('a price', () => {
  const prices: Price[] = [
    { channel: 'sms', amount: '0.9' },
    { channel: 'sms', to: 'GH', amount: '0.8' },
    { channel: 'sms', to: '+2332', amount: '0.7' },
    { channel: 'sms', to: '+23324', amount: '0.6' },
    { provider: 'a', channel: 'sms', amount: '0.5' },
    { provider: 'a', channel: 'sms', to: 'GH', amount: '0.4' },
    { provider: 'a', channel: 'sms', to: '+23324', amount: '0.3' },
  ]
  test.each([
    ['of an account, by the longest prefix', 'a', 'GH', '+233241234567', '0.3'],
    ['of an account, by country', 'a', 'GH', '+233201234567', '0.4'],
    ['of an account, everywhere', 'a', 'KE', '+254712345678', '0.5'],
    ['for all, by the longest prefix', 'b', 'GH', '+233241234567', '0.6'],
    ['for all, by a shorter one', 'b', 'GH', '+233201234567', '0.7'],
    ['for all, by country when the number is not known', 'b', 'GH', undefined, '0.8'],
    ['for all, everywhere', 'b', null, undefined, '0.9'],
  ])('%s', (_, provider, country, number, amount) => {
    const table = { currency: 'USD', prices }
    const shuffled = { currency: 'USD', prices: prices.toReversed() }
    const route = { provider, channel: 'sms' as const, country, number }
    expect(costOf(table, route)).toEqual({ amount, currency: 'USD' })
    expect(costOf(shuffled, route)).toEqual({ amount, currency: 'USD' })
  })

  test('that is not there is none', () => {
    const route = { provider: 'a', channel: 'voice' as const, country: 'GH' }
    expect(costOf({ currency: 'USD', prices }, route)).toBeUndefined()
    expect(costOf(undefined, route)).toBeUndefined()
  })
})

test('an explanation names the rule, the risk and what keeps each account out', () => {
  const accounts = [
    account('try', { test: true }),
    account('off', { usable: [] }),
    account('a', { channels: ['sms', 'voice'] }),
  ]
  const decision = decideRoute(policy, question({ ...ghana, accounts, risk: 'high' }))
  const said = decision.channels.map(({ channel, because, step }) => [
    channel,
    step !== undefined,
    whyChannel(because),
  ])
  expect(said).toEqual([
    ['voice', true, 'by the rule "africa at stake"'],
    ['sms', true, 'by the rule "africa at stake"'],
    ['ussd', false, 'by the rule "africa at stake"'],
    ['whatsapp', false, 'by the rule "africa at stake"'],
  ])
  const ussd = decision.channels.filter(({ channel }) => channel === 'ussd')
  expect(obstacles(ussd)).toEqual([
    'try: for test keys only',
    'off: off, its settings do not suffice',
  ])
  const sms = decision.channels.find(({ channel }) => channel === 'sms')
  expect(sms?.providers.map(whyProvider)[0]).toBe('in the order of the list by the rule "ghana"')
  expect(sms?.cost).toBe('0.005')
})

test('a channel alone is decided as the plan would', () => {
  const [first] = decideRoute(policy, question(ghana)).plan
  expect(decideChannel(policy, 'sms', question(ghana)).step).toEqual(first)
})
