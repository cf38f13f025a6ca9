import { describe, expect, test } from '@jest/globals'
import { challengeFaults, readChallengeAccounts } from '../../config/challenges'
import { readPolicyText, readPolicy } from '../../config/policy'
import { protectionOf } from '../../core/protection/protection'

const development = { isProduction: false }
const turnstile = { TURNSTILE_SITE_KEY: '0x4AAA', TURNSTILE_SECRET: 'the-secret' }

/** The shipped policy with a section `protection` of the test's. */
function policyWith(protection: object) {
  const shipped = JSON.parse(readPolicyText(undefined) ?? '{}') as object
  return readPolicy(JSON.stringify({ ...shipped, protection }), 'policy.json')
}
function accepted(protection: object) {
  const reading = policyWith(protection)
  if (!reading.success) throw new Error(reading.faults.join('\n'))
  return reading.policy
}

describe('accounts at vendors of challenges', () => {
  test('are read with the vendors’ own addresses', () => {
    expect(
      readChallengeAccounts({ ...turnstile, HCAPTCHA_SITE_KEY: '', HCAPTCHA_SECRET: '' }),
    ).toEqual({
      turnstile: {
        siteKey: '0x4AAA',
        secret: 'the-secret',
        baseUrl: 'https://challenges.cloudflare.com',
      },
    })
    expect(challengeFaults(undefined, turnstile, { isProduction: true })).toEqual([])
  })

  test.each<[string, Record<string, string>, boolean, string]>([
    ['half of one', { HCAPTCHA_SECRET: 'x-secret' }, false, 'HCAPTCHA_SITE_KEY, HCAPTCHA_SECRET'],
    [
      'somebody else in the vendor’s place, in production',
      { ...turnstile, TURNSTILE_BASE_URL: 'https://evil.example' },
      true,
      'TURNSTILE_BASE_URL: for development only',
    ],
    ['no address', { ...turnstile, TURNSTILE_BASE_URL: 'nowhere' }, false, 'TURNSTILE_BASE_URL'],
  ])('are refused: %s', (_what, variables, isProduction, fault) => {
    const faults = challengeFaults(undefined, variables, { isProduction }).join('\n')
    expect(faults).toContain(fault)
    for (const value of Object.values(variables)) expect(faults).not.toContain(value)
  })

  test('are needed for what the policy names, also for one app', () => {
    const policy = accepted({
      challenges: { kinds: ['turnstile'] },
      overrides: [{ name: 'shop', when: { apps: ['shop'] }, challenges: { kinds: ['hcaptcha'] } }],
    })
    expect(challengeFaults(policy, turnstile, development)).toEqual([
      'protection.challenges: "hcaptcha" needs HCAPTCHA_SITE_KEY and HCAPTCHA_SECRET',
    ])
    const both = { ...turnstile, HCAPTCHA_SITE_KEY: 'a', HCAPTCHA_SECRET: 'b' }
    expect(challengeFaults(policy, both, development)).toEqual([])
    const of = (app: string) => protectionOf(policy, { app, country: null }).challenges.kinds
    expect([of('shop'), of('other')]).toEqual([['hcaptcha'], ['turnstile']])
  })
})

test.each([
  { kinds: [] },
  { kinds: ['recaptcha'] },
  { kinds: ['altcha', 'altcha'] },
  { kinds: ['altcha'], hosts: ['https://shop.example'] },
])('the policy file does not take %j', (challenges) => {
  expect(policyWith({ challenges }).success).toBe(false)
})

test('proof of work is what is taken where the policy says nothing', () => {
  expect(protectionOf(accepted({}), { app: 'any', country: 'GH' }).challenges).toEqual({
    kinds: ['altcha'],
  })
})
