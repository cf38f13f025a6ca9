import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { usualSla } from '../../core/alerts/provider-rules'
import { listAlerts, raiseAlert } from '../../db/alerts/alerts'
import { raiseBlock } from '../../db/protection/blocks'
import { judgeAlerts } from '../../db/alerts/judge-alerts'
import { takeBudget } from '../../db/spending/spending'
import { alertGuessing } from '../../db/verify/guessing'
import { asSuperuser } from '../harness/database'
import { requestsOnly } from '../harness/requests'
import { later, noon, watchedApp } from '../harness/watched-app'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

type Watched = Awaited<ReturnType<typeof watchedApp>>
let appId: Watched['appId']
let wave: Watched['wave']
let own: Watched['own']
let audited: Watched['audited']
let notices: Watched['notices']
beforeEach(async () => {
  ;({ appId, wave, own, audited, notices } = await watchedApp(requests))
})

describe('evaluation', () => {
  const judge = (at?: Date) =>
    judgeAlerts(requests.db, { accounts: [{ name: 'acme', test: false }], sla: usualSla }, at)

  test('two at once raise one alert for all blocks of an app, which ends when none stands', async () => {
    const finding = {
      rule: 'block_velocity',
      scope: 'block',
      asks: 'block',
      count: 6,
      limit: 5,
    } as const
    for (const label of ['+23324400', '+23324401'])
      await raiseBlock(requests.db, {
        appId,
        environment: 'production',
        finding: { ...finding, name: `production|${appId}|block|${label}` },
        label,
        at: noon,
      })
    await Promise.all([judge(later(60)), judge(later(60))])
    expect(await own()).toMatchObject([
      {
        rule: 'block_raised',
        detail: { blocks: 2, scope: 'block', rule: 'block_velocity' },
        resolvedAt: null,
      },
    ])
    expect(await notices()).toEqual([{ kind: 'opened' }])
    await judge(later(901))
    expect(await own()).toMatchObject([{ resolvedAt: null }])
    await judge(later(961))
    expect(await own()).toMatchObject([{ resolvedAt: later(961) }])
  })

  test('an account whose breaker stays open is the installation’s alert; one that is not set up is nobody’s', async () => {
    for (const provider of ['acme', 'elsewhere'])
      await requests.db
        .many(sql`insert into provider_breakers (provider, channel, open, opened_at, probe_at)
        values (${provider}, 'sms', true, ${noon}, ${noon})`)
    await judge(later(60))
    const ofProviders = async () =>
      (await listAlerts(requests.db, { rule: 'provider_sla', limit: 10 })).filter(
        (alert) => alert.appId === null,
      )
    expect(await ofProviders()).toEqual([])
    await judge(later(180))
    expect(await ofProviders()).toMatchObject([
      { subject: 'acme', severity: 'critical', detail: { open_channels: 'sms' } },
    ])
    await requests.db.many(sql`update provider_breakers set open = false`)
    await judge(later(240))
    await judge(later(300))
    expect(await ofProviders()).toMatchObject([{ resolvedAt: later(300) }])
  })

  test('a route whose reports stop saying that messages arrive', async () => {
    const hour = (yes: number, no: number) =>
      requests.db.many(sql`
        insert into provider_hours (hour, provider, channel, country, states, faults, receipts, success, costs, accept_ms, receipt_ms, summed_at)
        values (date_trunc('hour', ${noon}::timestamptz), 'acme', 'sms', 'GH', ${JSON.stringify({ accepted: yes + no })}::jsonb, '{}',
          ${JSON.stringify({ delivered: yes, 'failed.permanent': no })}::jsonb, ${JSON.stringify({ yes, no })}::jsonb, '{}', '{}', '{}', ${noon})
        on conflict (hour, provider, channel, country) do update set states = excluded.states, receipts = excluded.receipts,
          success = excluded.success`)
    const ofRoutes = async () =>
      (await listAlerts(requests.db, { rule: 'delivery_rate', limit: 10 })).filter(
        (alert) => alert.appId === null,
      )
    await hour(95, 5)
    await judge(later(60))
    expect(await ofRoutes()).toEqual([])
    await hour(95, 60)
    await judge(later(120))
    expect(await ofRoutes()).toMatchObject([{ subject: 'acme sms GH', detail: { rate: 0.613 } }])
    await hour(995, 60)
    await judge(later(180))
    await judge(later(240))
    expect(await ofRoutes()).toMatchObject([{ resolvedAt: later(240) }])
  })

  test('guessing is listed with the others, and its event comes as ever', async () => {
    const found = { appId, environment: 'production', expected: 0.02 } as const
    await alertGuessing(requests.db, { ...found, level: 'warn' })
    await alertGuessing(requests.db, { ...found, level: 'high' })
    await alertGuessing(requests.db, { ...found, level: 'high' })
    expect(await own()).toMatchObject([
      {
        rule: 'guessing',
        severity: 'critical',
        detail: { level: 'high', expected: 0.02 },
        count: 3,
      },
    ])
    expect(await notices()).toEqual([{ kind: 'opened' }, { kind: 'escalated' }])
    expect(await audited()).toMatchObject([
      { detail: { level: 'warn' } },
      { detail: { level: 'high' } },
    ])
    // No wrong check of the last day is known: it is over.
    await judge(later(60, new Date()))
    await judge(later(120, new Date()))
    expect(await own()).toMatchObject([{ resolvedAt: expect.any(Date) }])
  })

  test('what cannot be read hides nothing else, and ends nothing', async () => {
    const drop = wave({ rule: 'conversion_drop', subject: 'GH' })
    await raiseAlert(requests.db, drop, noon)
    await raiseBlock(requests.db, {
      ...{ appId, environment: 'production', label: '+23324402', at: later(3_600) },
      finding: {
        ...{ rule: 'block_velocity', scope: 'block', asks: 'block', count: 6, limit: 5 },
        name: `production|${appId}|block|+23324402`,
      },
    })
    const charge = { appId, live: true, currency: 'USD', price: '1', budget: { day: '2' } }
    await takeBudget(requests.db, charge, later(3_600))
    await asSuperuser(requests.adminUrl, ['alter table app_hours rename to app_hours_away'])
    try {
      await expect(judge(later(3_700))).rejects.toThrow('app_hours')
    } finally {
      await asSuperuser(requests.adminUrl, ['alter table app_hours_away rename to app_hours'])
    }
    const open = async () =>
      (await own()).filter(({ resolvedAt }) => resolvedAt === null).map(({ rule }) => rule)
    expect((await open()).toSorted()).toEqual(['block_raised', 'budget', 'conversion_drop'])
    await judge(later(3_760))
    expect((await open()).toSorted()).toEqual(['block_raised', 'budget'])
  })

  test('an alert that nothing speaks of any more ends within the hour', async () => {
    await raiseAlert(requests.db, wave({ rule: 'conversion_drop', subject: 'GH' }), noon)
    await judge(later(3_599))
    expect(await own()).toMatchObject([{ resolvedAt: null }])
    await judge(later(3_600))
    expect(await own()).toMatchObject([{ resolvedAt: later(3_600) }])
  })
})
