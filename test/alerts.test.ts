import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { usualSla } from '../core/alerts/provider-rules'
import type { Raised } from '../core/alerts/rule'
import {
  acknowledgeAlert,
  listAlerts,
  noteQuiet,
  raiseAlert,
  remind,
  resolveAlert,
} from '../db/abuse/alerts'
import { readAppFigures, sumAppHours } from '../db/abuse/app-hours'
import { raiseBlock } from '../db/abuse/blocks'
import { judgeAlerts } from '../db/abuse/judge-alerts'
import { createApp } from '../db/apps/apps'
import { alertGuessing } from '../db/checks/guessing'
import { deleteOutlived } from '../db/upkeep/cleanup'
import { requestsOnly } from './harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

// Every test has an app of its own.
let apps = 0
let appId: string
beforeEach(async () => {
  appId = `watched${++apps}`
  await createApp(requests.db, { id: appId, name: 'A' })
})

const noon = new Date('2026-11-23T12:00:00Z')
const later = (seconds: number, from = noon) => new Date(from.getTime() + seconds * 1_000)
const wave = (given: Partial<Raised> = {}): Raised => ({
  appId,
  environment: 'production',
  rule: 'lockout_wave',
  subject: '',
  severity: 'warning',
  detail: { locked: 12, usual: 0.1 },
  ...given,
})
const own = async () => listAlerts(requests.db, { appId, limit: 100 })
const audited = () =>
  requests.db.many<{ detail: object }>(sql`select detail from audit_events
    where chain = ${`app:${appId}`} and type = 'alert' order by sequence`)
const notices = () =>
  requests.db.many<{
    kind: string
  }>(sql`select n.kind from alert_notices n join alerts a on a.id = n.alert_id
    where a.app_id = ${appId} order by n.id`)

describe('an alert', () => {
  test('is opened once, however many processes raise it at once, and told once', async () => {
    const opened = await Promise.all(
      Array.from({ length: 12 }, () => raiseAlert(requests.db, wave(), noon)),
    )
    expect(opened.filter(Boolean)).toHaveLength(1)
    expect(await own()).toMatchObject([{ count: 12, severity: 'warning', resolvedAt: null }])
    expect(await notices()).toEqual([{ kind: 'opened' }])
    expect(await audited()).toMatchObject([
      { detail: { alert: 'lockout_wave', state: 'opened', locked: 12, severity: 'warning' } },
    ])
  })

  test('keeps its name apart: by app, environment, rule and subject', async () => {
    for (const given of [
      {},
      { environment: 'staging' },
      { subject: 'GH' },
      { rule: 'refusal_wave' },
    ] as const)
      expect(await raiseAlert(requests.db, wave(given), noon)).toBe(true)
    expect(await own()).toHaveLength(4)
  })

  test('is brought up to date, and told again when it becomes critical, not when it eases', async () => {
    await raiseAlert(requests.db, wave(), noon)
    const worse = wave({ severity: 'critical', detail: { locked: 200, usual: 0.1 } })
    expect(await raiseAlert(requests.db, worse, later(60))).toBe(false)
    await raiseAlert(requests.db, wave(), later(120))
    expect(await own()).toMatchObject([
      { severity: 'critical', count: 3, detail: { locked: 12 }, lastSeenAt: later(120) },
    ])
    expect(await notices()).toEqual([{ kind: 'opened' }, { kind: 'escalated' }])
  })

  test('ends at the second quiet evaluation in a row, and comes back as a new one', async () => {
    await raiseAlert(requests.db, wave(), noon)
    expect(await noteQuiet(requests.db, wave(), later(60))).toBe(false)
    await raiseAlert(requests.db, wave(), later(120))
    expect(await noteQuiet(requests.db, wave(), later(180))).toBe(false)
    // A second process that judges at the same time is no second evaluation.
    expect(await noteQuiet(requests.db, wave(), later(181))).toBe(false)
    expect(await noteQuiet(requests.db, wave(), later(240))).toBe(true)
    expect(await noteQuiet(requests.db, wave(), later(300))).toBe(false)
    expect(await raiseAlert(requests.db, wave(), later(360))).toBe(true)
    expect((await own()).map(({ resolvedAt }) => resolvedAt)).toEqual([null, later(240)])
    expect((await notices()).map(({ kind }) => kind)).toEqual(['opened', 'resolved', 'opened'])
    expect(await audited()).toMatchObject([
      { detail: { state: 'opened' } },
      { detail: { state: 'resolved' } },
      { detail: { state: 'opened' } },
    ])
  })

  test('is ended by whoever knows that it is over, once', async () => {
    await raiseAlert(requests.db, wave({ rule: 'budget', subject: 'day' }), noon)
    const name = wave({ rule: 'budget', subject: 'day' })
    const ended = await Promise.all([1, 2, 3].map(() => resolveAlert(requests.db, name, later(9))))
    expect(ended.filter(Boolean)).toHaveLength(1)
    expect(await own()).toMatchObject([{ resolvedAt: later(9) }])
  })

  test('is told again after a day, a critical one after four hours, until somebody acknowledges it', async () => {
    await raiseAlert(requests.db, wave(), noon)
    await raiseAlert(requests.db, wave({ subject: 'GH', severity: 'critical' }), noon)
    await remind(requests.db, later(4 * 3_600 - 1))
    expect(await notices()).toHaveLength(2)
    await remind(requests.db, later(4 * 3_600))
    expect((await notices()).map(({ kind }) => kind)).toEqual(['opened', 'opened', 'reminder'])
    const [critical] = (await own()).filter(({ severity }) => severity === 'critical')
    const known = await acknowledgeAlert(requests.db, { id: critical?.id ?? '', actor: 'ama' })
    expect(known).toMatchObject({ acknowledgedBy: 'ama', resolvedAt: null })
    await acknowledgeAlert(requests.db, { id: critical?.id ?? '', actor: 'kofi' })
    await remind(requests.db, later(24 * 3_600))
    expect((await notices()).map(({ kind }) => kind)).toEqual([
      ...['opened', 'opened', 'reminder', 'reminder'],
    ])
    expect(new Set((await own()).map(({ acknowledgedBy }) => acknowledgedBy))).toEqual(
      new Set(['ama', null]),
    )
    expect((await audited()).at(-1)).toMatchObject({ detail: { state: 'acknowledged' } })
    expect(
      (await audited()).filter(
        ({ detail }) => 'state' in detail && detail.state === 'acknowledged',
      ),
    ).toHaveLength(1)
  })

  test('is removed a while after its end, with what was told of it', async () => {
    await raiseAlert(requests.db, wave(), later(-100 * 86_400, new Date()))
    await raiseAlert(requests.db, wave({ subject: 'open' }), later(-100 * 86_400, new Date()))
    await resolveAlert(requests.db, wave(), later(-91 * 86_400, new Date()))
    await deleteOutlived(requests.db, 1_000)
    expect((await own()).map(({ subject }) => subject)).toEqual(['open'])
    expect(await notices()).toEqual([{ kind: 'opened' }])
  })
})

describe('hourly sums', () => {
  test('are of decisions and of requests that had their time; a second sum changes nothing', async () => {
    const given = { appId, environment: 'production', country: 'GH' } as const
    const made = []
    for (let index = 0; index < 6; index++) made.push(await requests.open(given))
    const [verified, delivered, locked, ...others] = made.map(({ requestId }) => requestId)
    await requests.db.many(sql`update otp_requests set attempt_seq = 1 where app_id = ${appId}
      and id <> ${others.at(-1) ?? ''}`)
    await requests.db.many(
      sql`update otp_requests set state = 'verified', reason = 'code_matched', ended_at = now() where id = ${verified ?? ''}`,
    )
    await requests.db.many(
      sql`update otp_requests set delivered_at = now() where id = ${delivered ?? ''}`,
    )
    await requests.db.many(
      sql`update otp_requests set state = 'locked', reason = 'too_many_checks', ended_at = now() where id = ${locked ?? ''}`,
    )
    await requests.db
      .many(sql`insert into send_decisions (request_id, app_id, environment, country, at, verdict, mode)
      select 'refused', ${appId}, 'production', 'GH', now(), verdict, 'block' from unnest('{blocked,blocked,challenge}'::text[]) verdict`)
    const sums = () =>
      requests.db.many<
        Record<string, number>
      >(sql`select sum(sends)::int as sends, sum(blocked)::int as blocked,
        sum(challenged)::int as challenged, sum(due)::int as due, sum(reached)::int as reached, sum(matured)::int as matured,
        sum(converted)::int as converted, sum(locked)::int as locked from app_hours where app_id = ${appId}`)
    const base = { sends: 6, blocked: 2, challenged: 1, locked: 1 }
    await sumAppHours(requests.db)
    expect(await sums()).toEqual([{ ...base, due: 0, reached: 0, matured: 0, converted: 0 }])
    const inTime = (seconds: number) => later(seconds, new Date())
    await Promise.all([1, 2, 3].map(() => sumAppHours(requests.db, inTime(181))))
    expect(await sums()).toEqual([{ ...base, due: 5, reached: 2, matured: 0, converted: 0 }])
    await sumAppHours(requests.db, inTime(361))
    expect(await sums()).toEqual([{ ...base, due: 5, reached: 2, matured: 5, converted: 1 }])
    const [figures] = (await readAppFigures(requests.db, inTime(400))).filter(
      (found) => found.appId === appId,
    )
    expect(figures).toMatchObject({
      country: 'GH',
      sends: 6,
      refused: 3,
      locked: 1,
      due: 5,
      reached: 2,
      matured: 5,
      converted: 1,
    })
  })
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

  test('an alert that nothing speaks of any more ends within the hour', async () => {
    await raiseAlert(requests.db, wave({ rule: 'conversion_drop', subject: 'GH' }), noon)
    await judge(later(3_599))
    expect(await own()).toMatchObject([{ resolvedAt: null }])
    await judge(later(3_600))
    expect(await own()).toMatchObject([{ resolvedAt: later(3_600) }])
  })
})
