import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { loadPolicy } from '../../config/policy'
import { policyJsonSchema } from '../../config/policy-schema'
import { decideRoute, type RouteQuestion } from '../../core/routing/decide'
import { type Risk, risks } from '../../core/protection/risk'
import { valid } from '../harness/policy-text'

describe('the shipped policy', () => {
  const policy = valid(loadPolicy(undefined))
  const orderFor = (country: string, risk: Risk = 'normal', given: Partial<RouteQuestion> = {}) =>
    decideRoute(policy, {
      ...{ kind: 'phone', wish: {}, country, risk, app: 'app', environment: 'production' },
      ...{ region: null, unhealthy: [], record: [], share: 0 },
      accounts: policy.accounts.map((account) => ({ ...account, usable: account.channels })),
      ...given,
    }).plan
  const channelsFor = (country: string, risk?: Risk) =>
    orderFor(country, risk).map(({ channel }) => channel)

  test('has its JSON Schema beside it: npx otpilot policy schema > config/policy.schema.json', () => {
    const file = join(__dirname, '..', '..', 'config', 'policy.schema.json')
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(policyJsonSchema())
  })

  test('has in its JSON Schema what refinements say: lists name nothing twice, countries are countries', () => {
    const { properties, definitions } = JSON.parse(JSON.stringify(policyJsonSchema()))
    expect(properties.channels.properties.phone.uniqueItems).toBe(true)
    expect(properties.rules.items.anyOf).toEqual(
      ['channels', 'providers', 'steps'].map((name) => ({ required: [name] })),
    )
    const [, list, weights] = properties.providers.additionalProperties.anyOf
    expect([list.uniqueItems, weights.minProperties]).toEqual([true, 1])
    expect(definitions.country.enum).toContain('GH')
    expect(definitions.country.enum).not.toContain('UK')
  })

  test('takes the budget of docs/operations.md as it stands there: every channel has a price', () => {
    const page = readFileSync(join(__dirname, '..', '..', 'docs', 'operations.md'), 'utf8')
    const [, snippet] = /```json\n"protection": (\{\n {2}"budget".*?)```/s.exec(page) ?? []
    const shipped = JSON.parse(
      readFileSync(join(__dirname, '..', '..', 'config', 'policy.json'), 'utf8'),
    ) as { protection: { overrides: unknown[] } }
    const { overrides, ...budget } = JSON.parse(snippet ?? '{}') as { overrides: unknown[] }
    const protection = { ...budget, overrides: [...overrides, ...shipped.protection.overrides] }
    const path = join(mkdtempSync(join(tmpdir(), 'otpilot-policy-')), 'policy.json')
    writeFileSync(path, JSON.stringify({ ...shipped, protection }))
    expect(valid(loadPolicy(path)).protection).toMatchObject({ budget: { day: '200.00' } })
  })

  test.each([
    ['GH', 'arkesel'],
    ['NG', 'africas-talking'],
    ['KE', 'africas-talking'],
  ])('begins in %s with SMS by %s', (country, provider) => {
    const [first] = orderFor(country)
    expect([first?.channel, first?.providers[0]]).toEqual(['sms', provider])
    // The others follow: no list leaves anybody out who could help.
    const all = policy.accounts.filter(({ channels, test }) => channels.includes('sms') && !test)
    expect(first?.providers).toHaveLength(all.length)
  })

  test('has SMS and USSD before WhatsApp in all of Africa, whatever the risk', () => {
    const africa = policy.countryGroups.africa ?? []
    expect(africa).toHaveLength(54)
    for (const country of africa) {
      for (const risk of risks) {
        const order = channelsFor(country, risk)
        expect([country, risk, order.indexOf('sms') < order.indexOf('whatsapp')]).toEqual([
          ...[country, risk, true],
        ])
        expect([country, risk, order.indexOf('ussd') < order.indexOf('whatsapp')]).toEqual([
          ...[country, risk, true],
        ])
      }
    }
  })

  test('begins with voice or WhatsApp at high risk everywhere, and with what costs least at low risk', () => {
    for (const country of ['GH', 'KE', 'DE', 'US', 'BR']) {
      expect(['voice', 'whatsapp']).toContain(channelsFor(country, 'high')[0])
      expect(channelsFor(country, 'low').at(-1)).toBe('voice')
    }
  })

  test('tries worldwide services first elsewhere', () => {
    expect(orderFor('DE')[0]?.providers[0]).toBe('twilio')
    expect(channelsFor('DE')).toEqual(['sms', 'voice', 'whatsapp'])
  })

  test('tells nobody to dial a service code of another part of the world', () => {
    const dialledIn = (country: string) =>
      orderFor(country).flatMap(({ channel, providers }) => (channel === 'ussd' ? providers : []))
    expect(dialledIn('GH')).toEqual(['arkesel', 'africas-talking'])
    expect(dialledIn('NG')).toEqual(['africas-talking', 'arkesel'])
    expect(dialledIn('KE')).toEqual(['africas-talking'])
    expect(dialledIn('ZM')).toEqual(['africas-talking'])
    for (const country of ['DE', 'US', 'BR', 'IN']) expect(dialledIn(country)).toEqual([])
    expect(orderFor('DE', 'normal', { environment: 'staging' }).at(-1)).toMatchObject({
      ...{ channel: 'ussd', providers: ['sandbox-a', 'sandbox-b'] },
    })
  })

  test('gives test keys the sandbox', () => {
    const [first] = orderFor('GH', 'normal', { environment: 'staging' })
    expect(first?.providers).toEqual(['sandbox-a', 'sandbox-b'])
  })
})
