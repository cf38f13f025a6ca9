import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, test } from '@jest/globals'
import { followPolicy } from '../../config/live-policy'
import { loadPolicy } from '../../config/policy'
import { protectionOf } from '../../core/protection/protection'
import { createProviders } from '../../providers'
import { until } from '../harness/client'
import { accounts, channels, fileOf, valid } from '../harness/policy-text'

const folder = mkdtempSync(join(tmpdir(), 'otpilot-policy-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('a policy that is followed', () => {
  const variables = {
    SANDBOX_URL: 'http://127.0.0.1:9',
    SANDBOX_SECRET: `whsec_${'A'.repeat(43)}=`,
  }
  const policyFile = join(folder, 'live.json')
  const write = (sections: Record<string, unknown>) => writeFileSync(policyFile, fileOf(sections))

  function follow({ rereadMs = 10 } = {}) {
    const policy = valid(loadPolicy(policyFile))
    const warnings: unknown[] = []
    const log = { info: () => undefined, warn: (fields: object) => void warnings.push(fields) }
    const config = { policy, policyFile, variables, isProduction: false }
    return { warnings, live: followPolicy(config, { log, rereadMs, goneMs: 500 }) }
  }

  test('changes with its file, and keeps what did not change', async () => {
    write({})
    const { live } = follow()
    const view = live.accounts
    const [a, b] = [view.get('a'), view.get('b')]
    const renamed = { ...accounts[1], name: 'c' }
    const swapped = { ...accounts[1], channels: ['voice'] }
    write({ accounts: [renamed, accounts[0]], channels: { ...channels, phone: ['voice'] } })
    await until(async () => view.has('c'))
    expect([...view.keys()]).toEqual(['c', 'a'])
    expect(live.policy.channels.phone).toEqual(['voice'])
    expect(view.get('a')).toBe(a)
    expect(view.size).toBe(2)
    // Another process may have planned with it a moment ago.
    expect(view.get('b')).toBe(b)
    await until(async () => view.get('b') === undefined)
    write({ accounts: [accounts[0], swapped] })
    await until(async () => view.has('b'))
    expect(view.get('b')).not.toBe(b)
    expect(view.get('b')?.channels).toEqual(['voice'])
    const seen: string[] = []
    view.forEach(
      (account, name, its) => void (its === view && seen.push(`${name}=${account.name}`)),
    )
    expect(seen).toEqual(['a=a', 'b=b'])
    expect(new Map(view)).toEqual(new Map(view.entries()))
    live.close()
  })

  test('that names the former mode `quiet` blocks instead, and says so once each time that it is read', async () => {
    const mode = { live: 'quiet', test: 'observe' }
    const shop = { name: 'shop', when: { apps: ['shop'] }, mode: { test: 'quiet' } }
    write({ protection: { mode, overrides: [shop] } })
    const { live, warnings } = follow()
    expect(protectionOf(live.policy, { app: 'app', country: 'GH' }).mode).toEqual({
      live: 'block',
      test: 'observe',
    })
    expect(protectionOf(live.policy, { app: 'shop', country: 'GH' }).mode.test).toBe('block')
    const place = (field: string) =>
      `${policyFile}:4: protection.${field}: there is no mode quiet any more: it is read as block`
    const both = [place('mode.live'), place('overrides.0.mode.test')]
    expect(warnings).toEqual([{ outdated: both }])
    // Many looks later.
    await pause(100)
    expect(warnings).toHaveLength(1)
    write({ protection: { mode } })
    await until(async () => warnings.length > 1)
    expect(warnings.slice(1)).toEqual([{ outdated: [place('mode.live')] }])
    write({ protection: { mode: { live: 'block' } } })
    await until(async () => live.policy.protection.mode?.test === undefined)
    expect(warnings).toHaveLength(2)
    live.close()
  })

  test('is read out of turn for an account that another process knows already', () => {
    write({})
    const { live } = follow({ rereadMs: 3_600_000 })
    expect(live.accounts.get('c')).toBeUndefined()
    write({ accounts: [...accounts, { ...accounts[1], name: 'c' }] })
    return until(async () => live.accounts.get('c')).then(() => live.close())
  })

  test('stays as it is while its file cannot be used, with one warning a fault, and goes on afterwards', async () => {
    write({})
    const { live, warnings } = follow()
    const before = live.policy
    writeFileSync(policyFile, '{"accounts": [')
    await until(async () => warnings.length > 0)
    write({ channels: { phone: ['fax'], email: ['email'] } })
    await until(async () => warnings.length > 1)
    rmSync(policyFile)
    await until(async () => warnings.length > 2)
    // Many looks later.
    await pause(100)
    expect(warnings).toEqual([
      { faults: [`${policyFile}:1: the file ends too early`] },
      { faults: [expect.stringContaining(`${policyFile}:3: channels.phone.0: `)] },
      { faults: [`${policyFile}: cannot be read`] },
    ])
    expect(live.policy).toEqual(before)
    expect([...live.accounts.keys()]).toEqual(['a', 'b'])
    write({ rules: [{ name: 'x', channels: ['voice'] }] })
    await until(async () => live.policy.rules.length > 0)
    live.close()
  })

  test('is refused with an account whose variables are at fault', async () => {
    write({})
    const policy = valid(loadPolicy(policyFile))
    const warnings: object[] = []
    const log = { info: () => undefined, warn: (fields: object) => void warnings.push(fields) }
    const given = { ...variables, TWILIO_UK_BASE_URL: 'no address' }
    const config = { policy, policyFile, variables: given, isProduction: false }
    const live = followPolicy(config, { log, rereadMs: 10 })
    const uk = { name: 'twilio-uk', adapter: 'twilio', channels: ['sms'], test: false }
    write({ accounts: [...accounts, uk] })
    await until(async () => warnings.length > 0)
    expect(JSON.stringify(warnings)).toContain('TWILIO_UK_BASE_URL')
    expect(JSON.stringify(warnings)).not.toContain('no address')
    expect([...live.accounts.keys()]).toEqual(['a', 'b'])
    live.close()
  })

  test('has the accounts that would be made of it', () => {
    write({})
    const { live } = follow()
    const made = createProviders(live.policy.accounts, variables)
    expect([...live.accounts.keys()]).toEqual([...made.keys()])
    live.close()
  })
})
