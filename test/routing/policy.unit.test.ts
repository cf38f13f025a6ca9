import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import fc from '../harness/properties'
import { JsonFault, readJsonLines } from '../../config/json-lines'
import { loadPolicy, readPolicy } from '../../config/policy'
import { decideRoute } from '../../core/routing/decide'
import { accounts, channels, fileOf, valid } from '../harness/policy-text'

const faultsOf = (text: string): string[] => {
  const reading = readPolicy(text, 'policy.json')
  return reading.success ? [] : reading.faults
}
describe('the policy file', () => {
  test.each<[string, string, string]>([
    ['nested without end', '['.repeat(100_000), 'policy.json:1: is nested too deeply here'],
    ['of objects without end', '{"a":\n'.repeat(50), 'policy.json:34: is nested too deeply here'],
    ['longer than any policy', ' '.repeat(1_000_001), 'policy.json: is longer than 1 MB'],
  ])('%s is refused in one sentence', (_, text, fault) => {
    expect(faultsOf(text)).toEqual([fault])
  })

  test('that is no file is not waited for', () => {
    expect(loadPolicy(tmpdir())).toEqual({
      success: false,
      faults: [`${tmpdir()}: cannot be read`],
    })
  })

  test('as it was before it had a version is read as version 1, and decides as before', () => {
    const old = { accounts, channels, steps: { sms: { timeoutMs: 9_000 } }, retention: {} }
    const policy = valid(readPolicy(JSON.stringify(old), 'old.json'))
    expect(policy).toMatchObject({ version: 1, rules: [], steps: old.steps })
    const { plan } = decideRoute(policy, {
      ...{ kind: 'phone', wish: {}, country: 'GH', number: '+233241234567', risk: 'normal' },
      ...{ app: 'app', environment: 'staging', region: null, unhealthy: [], record: [], share: 0 },
      accounts: policy.accounts.map((account) => ({ ...account, usable: account.channels })),
    })
    expect(plan.map(({ channel, providers }) => [channel, providers])).toEqual([
      ['sms', ['a', 'b']],
      ['voice', ['a']],
    ])
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['of a later version', { version: 2 }, ':4: version: this version of otpilot reads version 1'],
    ['with an unknown section', { chanels: {} }, ':4: chanels: there is no such section'],
    [
      'with an unknown field',
      { rules: [{ name: 'x', channels: ['sms'], chanels: 1 }] },
      ':4: rules.0.chanels: there is no such field',
    ],
    [
      'with a country that is none',
      { rules: [{ name: 'x', channels: ['sms'], when: { countries: ['UK'] } }] },
      ':4: rules.0.when.countries.0: is neither a country’s two letters, as in GH, nor the name of a group',
    ],
    [
      'with a group that is not there',
      { rules: [{ name: 'x', channels: ['sms'], when: { countries: ['africa'] } }] },
      ':4: rules.0.when.countries.0: there is no group africa in countryGroups',
    ],
    [
      'with a prefix that is none',
      { rules: [{ name: 'x', channels: ['sms'], when: { prefixes: ['233'] } }] },
      ':4: rules.0.when.prefixes.0: must be the beginning of a number, as in +23324',
    ],
    [
      'with a rule that says nothing',
      { rules: [{ name: 'x' }] },
      ':4: rules.0: says nothing: give channels, providers or steps',
    ],
    [
      'with two rules of a name',
      { rules: [1, 2].map(() => ({ name: 'x', channels: ['sms'] })) },
      ':4: rules.1.name: another rule is named x',
    ],
    [
      'with an account that is not there',
      { providers: { sms: ['a', 'c'] } },
      ':4: providers.sms.1: there is no account c',
    ],
    [
      'with an account that does not serve the channel',
      { rules: [{ name: 'x', providers: { voice: { b: 1 } } }] },
      ':4: rules.0.providers.voice.b: the account b does not serve voice',
    ],
    [
      'with an account twice in a list',
      { providers: { sms: ['a', 'a'] } },
      ':4: providers.sms: an account is named twice',
    ],
    [
      'with weights that are all 0',
      { providers: { sms: { a: 0 } } },
      ':4: providers.sms: no weight is above 0',
    ],
    [
      'with providers of another kind',
      { providers: { sms: 5 } },
      ':4: providers.sms: must be a list of accounts; weights from 0 to 1000 by account; "cheapest" or "best"',
    ],
    [
      'with a rule of success for an account that is not there',
      { steps: { sms: { successBy: { c: 'accepted' } } } },
      ':4: steps.sms.successBy.c: there is no account c',
    ],
    [
      'with a price that is a number',
      { costs: { currency: 'USD', prices: [{ channel: 'sms', amount: 0.02 }] } },
      ':4: costs.prices.0.amount: Invalid input: expected string, received number',
    ],
    [
      'with a price twice',
      {
        costs: {
          currency: 'USD',
          prices: ['1', '2'].map((amount) => ({ channel: 'sms', amount })),
        },
      },
      ':4: costs.prices.1: is for the same as prices.0',
    ],
    [
      'with a price for nowhere',
      { costs: { currency: 'USD', prices: [{ channel: 'sms', to: 'Ghana', amount: '1' }] } },
      ':4: costs.prices.0.to: must be a country’s two letters or a prefix, as in +23324',
    ],
    [
      'with a budget for what has no price',
      {
        costs: { currency: 'USD', prices: [{ channel: 'sms', amount: '1' }] },
        protection: {
          budget: {},
          overrides: [{ name: 'x', when: { apps: ['shop'] }, budget: { day: '5' } }],
        },
      },
      ':5: protection.overrides.0.budget: needs a price in costs for voice, email, such as "0" where it is free',
    ],
    [
      'with a channel twice',
      { channels: { ...channels, phone: ['sms', 'sms'] } },
      ':3: channels.phone: a channel is named twice',
    ],
    [
      'with an account’s name that is taken',
      { accounts: [...accounts, accounts[0]] },
      ':2: accounts.2.name: another account is named a',
    ],
    [
      'with an account’s name that hides an address',
      { accounts: [...accounts, { ...accounts[0], name: 'otp-status' }] },
      ':2: accounts.2.name: no account can be named otp-status',
    ],
    [
      'with a risk that is unknown',
      { risk: { severe: 'cheapest' } },
      ':4: risk.severe: there is no such field',
    ],
  ])('%s is refused by line and field', (_, sections, fault) => {
    expect(faultsOf(fileOf(sections))).toEqual([`policy.json${fault}`])
  })

  test('tells every fault at once, also between sections that are in order', () => {
    const faults = faultsOf(
      fileOf({
        channels: { phone: ['fax'], email: ['email'] },
        steps: { sms: { timeoutMs: 5 } },
        providers: { sms: ['c'] },
        rules: [{ name: 'x', channels: ['sms'], when: { countries: ['nowhere'] } }],
        routes: [],
      }),
    )
    expect(faults.map((fault) => fault.split(': ').slice(0, 2).join(' '))).toEqual([
      'policy.json:7 routes',
      'policy.json:3 channels.phone.0',
      'policy.json:4 steps.sms.timeoutMs',
      'policy.json:6 rules.0.when.countries.0',
      'policy.json:5 providers.sms.0',
    ])
  })

  test('names a field at its own line, and one that is missing at that of what it is missing in', () => {
    const text = JSON.stringify(
      { accounts: [{ name: 'a', adapter: 'sandbox', channels: ['sms'] }], channels },
      null,
      2,
    )
    expect(faultsOf(text.replace('"sms"', '"fax"'))).toEqual([
      expect.stringMatching(/^policy\.json:7: accounts\.0\.channels\.0: /),
      expect.stringMatching(/^policy\.json:3: accounts\.0\.test: /),
    ])
  })

  test.each([
    ['{\n"accounts": [],\n}', 3, 'a name in double quotes is missing here'],
    ['{\n"accounts": [\n]\n"channels": {}}', 4, 'a comma or } is missing here'],
    ['{"accounts": yes}', 1, 'is not valid JSON here'],
    ['{\n"accounts": [', 2, 'the file ends too early'],
    ['', 1, 'the file ends too early'],
    ['{}\n\n}', 3, 'there is more after the end'],
  ])('that is no JSON says where: %j', (text, line, message) => {
    expect(faultsOf(text)).toEqual([`policy.json:${line}: ${message}`])
  })

  test('with a member twice is refused, of which JSON would keep the last', () => {
    const text = fileOf({}).replace('"channels": {', '"accounts": [],\n"channels": {')
    expect(faultsOf(text)).toContain('policy.json:3: accounts: is there twice')
  })

  test('has the lines that it has, and is JSON where JSON.parse says so', () => {
    const isJson = (text: string) => {
      try {
        JSON.parse(text)
        return true
      } catch {
        return false
      }
    }
    const isRead = (text: string) => {
      try {
        readJsonLines(text)
        return true
      } catch (error) {
        if (error instanceof JsonFault) return false
        throw error
      }
    }
    const cut = fc.tuple(
      fc.json(),
      fc.nat(60),
      fc.constantFrom('', ',', '}', ']', '"', ':', '1', '\\'),
    )
    fc.assert(
      fc.property(cut, ([json, at, sign]) => {
        const changed = json.slice(0, at) + sign + json.slice(at + 1)
        for (const text of [json, changed])
          expect([text, isRead(text)]).toEqual([text, isJson(text)])
      }),
      { numRuns: 1_000 },
    )
    const lines = readJsonLines('{"a": {\n"b": [\n1,\n{"c": 2}]}}')
    const paths = [['a'], ['a', 'b'], ['a', 'b', 0], ['a', 'b', 1, 'c'], ['a', 'x'], ['x']]
    expect(paths.map((path) => lines.lineOf(path))).toEqual([1, 2, 3, 4, 1, 1])
  })

  test('that is not there is said to be so', () => {
    const path = join(tmpdir(), 'otpilot-no-such-policy.json')
    expect(loadPolicy(path)).toEqual({ success: false, faults: [`${path}: cannot be read`] })
  })
})
