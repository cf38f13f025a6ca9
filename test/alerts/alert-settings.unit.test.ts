import { describe, expect, test } from '@jest/globals'
import { alertFaults, readAlertSettings } from '../../config/alerts'
import { readPolicy } from '../../config/policy'
import { targetsOf } from '../../core/alerts/policy'
import { fileOf } from '../harness/policy-text'

const hook = 'https://hooks.slack.com/services/T0/B0/secret'
const inDevelopment = { isProduction: false }

test('webhooks have names, and one without is the default; addresses are listed', () => {
  const read = readAlertSettings({
    OTPILOT_ALERT_SLACK: `${hook} shop=${hook}2`,
    OTPILOT_ALERT_EMAIL: 'ops@example.com, dev@example.com',
  })
  expect([...read.slack]).toEqual([
    ['default', hook],
    ['shop', `${hook}2`],
  ])
  expect(read.email).toEqual(['ops@example.com', 'dev@example.com'])
  expect(readAlertSettings({})).toEqual({ slack: new Map(), email: [] })
})

describe('what cannot be used is told without its value', () => {
  test.each([
    [
      'no address',
      { OTPILOT_ALERT_SLACK: 'hooks.slack.com/secret' },
      'OTPILOT_ALERT_SLACK: must be addresses',
    ],
    [
      'the same name twice',
      { OTPILOT_ALERT_SLACK: `a=${hook} a=${hook}` },
      'OTPILOT_ALERT_SLACK: two addresses',
    ],
    ['no e-mail address', { OTPILOT_ALERT_EMAIL: 'secret' }, 'OTPILOT_ALERT_EMAIL: must be'],
  ])('%s', (_, variables, fault) => {
    const faults = alertFaults(undefined, variables, inDevelopment)
    expect(faults).toEqual([expect.stringContaining(fault)])
    expect(faults.join()).not.toContain('secret')
  })
  test('plain http in production', () => {
    const variables = { OTPILOT_ALERT_SLACK: 'http://127.0.0.1:9/secret' }
    expect(alertFaults(undefined, variables, inDevelopment)).toEqual([])
    expect(alertFaults(undefined, variables, { isProduction: true })).toEqual([
      'OTPILOT_ALERT_SLACK: must be https in production',
    ])
  })
  test('a name in the policy file that has no address', () => {
    const alerts = { receivers: [{ name: 'all', slack: ['ops'] }] }
    expect(alertFaults({ alerts }, {}, inDevelopment)).toEqual([
      'OTPILOT_ALERT_SLACK: holds no address for ops, which alerts.receivers of the policy file names',
    ])
    expect(alertFaults({ alerts }, { OTPILOT_ALERT_SLACK: `ops=${hook}` }, inDevelopment)).toEqual(
      [],
    )
  })
})

test('the policy file says who is told of what; a rule that there is not is told by its line', () => {
  const alerts = {
    sla: { uptime: 0.995 },
    receivers: [
      { name: 'shop', when: { apps: ['shop'], rules: ['budget'] }, email: ['a@example.com'] },
    ],
  }
  expect(readPolicy(fileOf({ alerts }), 'policy.json')).toMatchObject({
    success: true,
    policy: { alerts },
  })
  const wrong = { receivers: [{ name: 'shop', when: { rules: ['nothing'] } }] }
  expect(readPolicy(fileOf({ alerts: wrong }), 'policy.json')).toMatchObject({
    success: false,
    faults: [expect.stringContaining('alerts.receivers.0.when.rules.0')],
  })
})

test('without receivers in the policy file everybody of the settings hears, of live alerts alone', () => {
  const usual = { slack: ['ops', 'shop'], email: ['a@example.com'] }
  const alert = {
    appId: 'shop',
    rule: 'budget',
    severity: 'warning',
    environment: 'production',
  } as const
  expect(targetsOf({}, usual, alert)).toEqual([
    { kind: 'slack', name: 'ops' },
    { kind: 'slack', name: 'shop' },
    { kind: 'email', name: 'all', to: ['a@example.com'] },
  ])
  expect(targetsOf({}, usual, { ...alert, environment: 'staging' })).toEqual([])
  expect(
    targetsOf({ environments: ['staging'] }, usual, { ...alert, environment: 'staging' }),
  ).toHaveLength(3)
  expect(targetsOf({ receivers: [] }, usual, alert)).toEqual([])
})
