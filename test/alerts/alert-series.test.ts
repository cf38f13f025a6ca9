import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { AlertRule } from '../../core/alerts/rule'
import { usualSla } from '../../core/alerts/provider-rules'
import { type AlertRow, listAlerts } from '../../db/alerts/alerts'
import { judgeAlerts } from '../../db/alerts/judge-alerts'
import { createApp } from '../../db/apps/apps'
import { chances, happening, type HourRow, keepAppHours, poisson } from '../harness/app-hours'
import { requestsOnly } from '../harness/requests'

/** Reference C4: a month of made-up traffic by the hour, judged as it comes. */
let requests: Awaited<ReturnType<typeof requestsOnly>>
const hourMs = 3_600_000
const begin = Date.parse('2026-09-07T00:00:00Z')
const days = 30
const end = begin + days * 24 * hourMs
const chance = chances(20_260_907)

/** Sends an hour at the daily peak. */
const apps: Record<string, Record<string, number>> = {
  large: { GH: 900, NG: 400, KE: 120 },
  medium: { GH: 60, NG: 12 },
  small: { GH: 2 },
}

/** Busy days and quiet nights, fewer on Sundays, and a little more every week. */
const meanAt = (peak: number, time: number) => {
  const hour = (time / hourMs) % 24
  const day = Math.floor(time / (24 * hourMs)) % 7
  const growth = 1 + (0.05 * (time - begin)) / (7 * 24 * hourMs)
  return (
    peak *
    growth *
    (0.55 + 0.45 * Math.sin(((hour - 9) / 24) * 2 * Math.PI)) *
    (day === 3 ? 0.7 : 1)
  )
}

const hourOf = (appId: string, country: string, time: number): HourRow => {
  const sends = poisson(chance, meanAt(apps[appId]?.[country] ?? 0, time))
  const share = (of: number) =>
    happening(chance, Math.min(sends, 400), of) * (sends > 400 ? sends / 400 : 1)
  return {
    ...{ appId, country, hour: new Date(time), sends },
    reached: Math.round(share(0.965)),
    converted: Math.round(share(0.78)),
    locked: happening(chance, sends, 0.002),
    blocked: happening(chance, sends, 0.004),
  }
}

const judgeAt = (time: number) =>
  judgeAlerts(requests.db, { accounts: [], sla: usualSla }, new Date(time))

const alertsSince = async (time: number): Promise<AlertRow[]> =>
  (await listAlerts(requests.db, { limit: 1_000 })).filter(
    ({ openedAt }) => openedAt.getTime() >= time,
  )

beforeAll(async () => {
  requests = await requestsOnly()
  for (const id of Object.keys(apps)) await createApp(requests.db, { id, name: id })
  const rows: HourRow[] = []
  for (let time = begin; time < end; time += hourMs)
    for (const [appId, countries] of Object.entries(apps))
      for (const country of Object.keys(countries)) rows.push(hourOf(appId, country, time))
  await keepAppHours(requests.db, rows)
}, 60_000)
afterAll(() => requests.close())

test('in a month without an attack hardly an alert is raised, and none for the small app', async () => {
  for (let time = begin; time < end; time += hourMs) {
    await judgeAt(time + 0.95 * hourMs)
  }
  const raised = await alertsSince(begin)
  expect(raised.filter(({ appId }) => appId === 'small')).toEqual([])
  expect(raised.length).toBeLessThanOrEqual(2)
}, 240_000)

describe('on the day after', () => {
  /** A day of traffic, changed, judged by the hour; and a quiet one after it. */
  const live = async (
    from: number,
    hours: number,
    change: (row: HourRow, hour: number) => HourRow[],
  ) => {
    for (let hour = 0; hour < hours; hour++) {
      const time = from + hour * hourMs
      const rows = Object.entries(apps).flatMap(([appId, countries]) =>
        Object.keys(countries).flatMap((country) => change(hourOf(appId, country, time), hour)),
      )
      await keepAppHours(requests.db, rows)
      await judgeAt(time + 0.95 * hourMs)
    }
  }
  const everyday = (from: number, hours: number) =>
    Array.from({ length: hours }, (_, hour) => from + hour * hourMs).flatMap((time) =>
      Object.entries(apps).flatMap(([appId, countries]) =>
        Object.keys(countries).map((country) => hourOf(appId, country, time)),
      ),
    )
  const opened = async (rule: AlertRule, since: number) =>
    (await alertsSince(since)).filter((alert) => alert.rule === rule)
  const attacks: {
    rule: AlertRule
    appId: string
    subject: string
    within: number
    change: (row: HourRow) => HourRow[]
  }[] = [
    {
      rule: 'volume_spike',
      appId: 'large',
      subject: '',
      within: 3,
      change: (row) => [row.appId === 'large' ? { ...row, sends: row.sends * 6 } : row],
    },
    {
      rule: 'volume_spike',
      appId: 'small',
      subject: '',
      within: 1,
      change: (row) => [
        row.appId === 'small' ? { ...row, sends: 60, converted: 2, matured: 2 } : row,
      ],
    },
    {
      rule: 'geographic_anomaly',
      appId: 'small',
      subject: 'TJ',
      within: 1,
      change: (row) =>
        row.appId === 'small'
          ? [
              row,
              { ...row, country: 'TJ', sends: 20, matured: 20, converted: 0, reached: 19, due: 20 },
            ]
          : [row],
    },
    {
      rule: 'conversion_drop',
      appId: 'medium',
      subject: 'GH',
      within: 4,
      change: (row) => [
        row.appId === 'medium'
          ? { ...row, converted: Math.round((row.converted ?? 0) * 0.3) }
          : row,
      ],
    },
    {
      rule: 'delivery_rate',
      appId: 'medium',
      subject: '',
      within: 4,
      change: (row) => [
        row.appId === 'medium' ? { ...row, reached: Math.round((row.reached ?? 0) * 0.8) } : row,
      ],
    },
    {
      rule: 'lockout_wave',
      appId: 'medium',
      subject: '',
      within: 2,
      change: (row) => [row.appId === 'medium' ? { ...row, locked: 12 } : row],
    },
    {
      rule: 'refusal_wave',
      appId: 'medium',
      subject: '',
      within: 2,
      change: (row) => [row.appId === 'medium' ? { ...row, blocked: 200 } : row],
    },
  ]
  // Each attack on a day of its own, at noon.
  test.each(attacks.map((attack, index) => ({ ...attack, index })))(
    '$rule of $appId $subject is raised within $within h, once, and ends with its cause',
    async ({ rule, appId, subject, within, change, index }) => {
      const from = end + (2 * index * 24 + 12) * hourMs
      // What lies between goes on as ever.
      await keepAppHours(requests.db, everyday(from - 24 * hourMs, 24))
      await live(from, within, change)
      const [alert, ...more] = (await opened(rule, from)).filter(
        (found) => found.appId === appId && found.subject === subject,
      )
      expect(more).toEqual([])
      expect(alert).toMatchObject({ resolvedAt: null })
      await live(from + within * hourMs, 24 - within, (row) => [row])
      const [after] = await requests.db.many<{ resolved: boolean; count: number }>(sql`
        select resolved_at is not null as resolved, count from alerts where id = ${alert?.id ?? ''}`)
      expect(after).toMatchObject({ resolved: true })
    },
    120_000,
  )
})
