import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import {
  acknowledgeAlert,
  noteNoFinding,
  raiseAlert,
  remind,
  resolveAlert,
} from '../../db/alerts/alerts'
import { readAppFigures, sumAppHours } from '../../db/alerts/app-hours'
import { createDatabase } from '../../db'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { noteSent } from '../harness/sent'
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

  test('that becomes critical is told so once, however many processes find it at once', async () => {
    await raiseAlert(requests.db, wave(), noon)
    const worse = wave({ severity: 'critical' })
    await Promise.all(Array.from({ length: 12 }, () => raiseAlert(requests.db, worse, later(60))))
    expect(await own()).toMatchObject([{ severity: 'critical', count: 13 }])
    expect(await notices()).toEqual([{ kind: 'opened' }, { kind: 'escalated' }])
  })

  test('ends at the second evaluation in a row without a finding, and comes back as a new one', async () => {
    await raiseAlert(requests.db, wave(), noon)
    expect(await noteNoFinding(requests.db, wave(), later(60))).toBe(false)
    await raiseAlert(requests.db, wave(), later(120))
    expect(await noteNoFinding(requests.db, wave(), later(180))).toBe(false)
    // A second process that judges at the same time is no second evaluation.
    expect(await noteNoFinding(requests.db, wave(), later(181))).toBe(false)
    expect(await noteNoFinding(requests.db, wave(), later(240))).toBe(true)
    expect(await noteNoFinding(requests.db, wave(), later(300))).toBe(false)
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
    const [figures] = await readAppFigures(requests.db, appId, inTime(400))
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

  test('hours without a send are not summed, however long nobody sent', async () => {
    const db = createDatabase(requests.url, { max: 1 })
    const sent = noteSent(db.pool)
    await requests.db.many(sql`delete from app_hours`)
    const years = (count: number) => new Date(Date.now() + count * 365 * 86_400_000)
    expect(await sumAppHours(db, years(1))).toBe(0)
    expect(sent.map(({ name }) => name)).toEqual(['find_hours_to_sum'])
    await requests.db
      .many(sql`insert into send_decisions (request_id, app_id, environment, at, verdict, mode)
      select 'refused', 'app', 'production', ${years(2).toISOString()}::timestamptz - hours * interval '1 hour', 'blocked', 'block'
      from unnest('{20,3}'::int[]) hours`)
    expect(await sumAppHours(db, years(2))).toBe(2)
    await db.close()
  })
})
