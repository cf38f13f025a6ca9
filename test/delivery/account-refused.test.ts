import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { usualSla } from '../../core/alerts/provider-rules'
import type { Fault } from '../../core/delivery/fault'
import type { ReceiptStatus } from '../../core/delivery/receipt'
import { type AlertRow, listAlerts } from '../../db/alerts/alerts'
import { judgeAlerts } from '../../db/alerts/judge-alerts'
import { unhealthyProviders } from '../../db/delivery/breakers'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startRecorder } from '../harness/recorder'
import { requestsOnly } from '../harness/requests'
import { startSystem, type System } from '../harness/system'
import { later, noon } from '../harness/watched-app'

const shown = ({ rule, subject, severity, detail, environment }: AlertRow) => ({
  ...{ rule, subject, severity, environment },
  detail: { ...detail },
})

describe('an account that refuses everything with one code', () => {
  let requests: Awaited<ReturnType<typeof requestsOnly>>
  beforeAll(async () => {
    requests = await requestsOnly()
  })
  afterAll(() => requests.close())

  interface Answer {
    state?: 'accepted' | 'refused' | 'in_doubt'
    code?: string | null
    fault?: Fault
    status?: ReceiptStatus
    success?: 'delivered' | 'accepted'
  }
  let number = 0
  /** Answers of an account, one a second up to `at`, the last one then. */
  async function answered(provider: string, at: Date, ...answers: Answer[]): Promise<void> {
    for (const [index, given] of answers.entries()) {
      const { requestId } = await requests.open()
      const { state = 'refused', code = null, fault = null, status = null } = given
      const rank = { accepted: 1, delivered: 4 }[status as string] ?? (status === null ? -1 : 3)
      await requests.db.many(sql`
        insert into attempts (id, request_id, number, step, send_no, try_no, channel, provider, success, state, fault,
          provider_code, status, status_rank, callback_digest, run_id, claimed_at, finished_at)
        values (${`att_${++number}`}, ${requestId}, 1, 0, 1, 1, 'sms', ${provider}, ${given.success ?? 'delivered'},
          ${state}::attempt_state, ${fault}::fault, ${code}, ${status}::receipt_status, ${rank},
          sha256(${`digest ${number}`}::bytea), 'run', ${at}, ${later(index + 1 - answers.length, at)})`)
    }
  }
  const judge = (provider: string, at: Date) =>
    judgeAlerts(requests.db, { accounts: [{ name: provider, test: false }], sla: usualSla }, at)
  const alertsOf = async (provider: string) =>
    (await listAlerts(requests.db, { rule: 'account_refused', limit: 100 })).filter(
      ({ subject }) => subject === provider,
    )
  const many = (count: number, answer: Answer) => Array.from({ length: count }, () => answer)
  const refused: Answer = { code: '21212', fault: 'unroutable' }

  test('is told of by its name and the code, and is well again with the next message', async () => {
    await answered('one', noon, ...many(10, refused))
    await judge('one', later(1))
    expect((await alertsOf('one')).map(shown)).toEqual([
      {
        ...{ rule: 'account_refused', subject: 'one', severity: 'warning' },
        environment: 'production',
        detail: { provider: 'one', code: '21212', refusals: 10 },
      },
    ])
    // What was taken a moment ago is still to be reported on: it may fail as the others did.
    await answered('one', later(60), { state: 'accepted', status: 'accepted' })
    await judge('one', later(90))
    await judge('one', later(130))
    expect(await alertsOf('one')).toMatchObject([{ resolvedAt: null }])
    await answered('one', later(170), { state: 'accepted', status: 'delivered' })
    await judge('one', later(180))
    await judge('one', later(240))
    expect(await alertsOf('one')).toMatchObject([{ resolvedAt: later(240) }])
  })

  test('needs three where the code is about the account', async () => {
    await answered('two', noon, ...many(2, { code: '21654', fault: 'config' }))
    await judge('two', later(1))
    expect(await alertsOf('two')).toEqual([])
    await answered('two', later(60), { code: '21654', fault: 'config' })
    await judge('two', later(61))
    expect(await alertsOf('two')).toMatchObject([
      { severity: 'critical', detail: { provider: 'two', code: '21654', refusals: 3 } },
    ])
  })

  test('refuses by its reports too', async () => {
    const failed = { state: 'accepted', status: 'failed.retryable', code: '30999' } as const
    await answered('three', noon, ...many(10, failed))
    await judge('three', later(1))
    expect(await alertsOf('three')).toMatchObject([{ detail: { code: '30999' } }])
  })

  test.each<[string, Answer[]]>([
    ['nine', many(9, refused)],
    ['another code in between', [...many(5, refused), { code: '1' }, ...many(5, refused)]],
    ['no code', many(12, { fault: 'unavailable' })],
    [
      'a message that was delivered in between',
      [...many(9, refused), { state: 'accepted', status: 'delivered' }, ...many(9, refused)],
    ],
    [
      'one that was taken, where nothing is reported',
      [...many(12, refused), { state: 'accepted', status: 'accepted', success: 'accepted' }],
    ],
  ])('is not seen in %s', async (name, answers) => {
    const provider = name.replaceAll(' ', '-')
    await answered(provider, noon, ...answers)
    await judge(provider, later(1))
    expect(await alertsOf(provider)).toEqual([])
  })

  test('a day without an answer says nothing, and the alert ends', async () => {
    await answered('four', noon, ...many(10, refused))
    await judge('four', later(1))
    await judge('four', later(86_400))
    await judge('four', later(86_400 + 3_600))
    expect(await alertsOf('four')).toMatchObject([{ resolvedAt: expect.any(Date) }])
  })

  test('its figures are read by an index, newest first', async () => {
    await requests.db.many(sql`set enable_seqscan = off`)
    const plan = await requests.db.many<Record<string, string>>(sql`
      explain select provider_code from attempts a
      where a.provider = 'one' and a.state in ('accepted', 'refused') and a.finished_at > now() - interval '24 hours'
      order by a.finished_at desc limit 200`)
    expect(JSON.stringify(plan)).toContain('attempts_answers')
  })
})

describe('through the whole service', () => {
  let system: System
  let live: TestClient
  let twilio: Awaited<ReturnType<typeof startRecorder>>
  beforeAll(async () => {
    twilio = await startRecorder()
    system = await startSystem({
      fakes: ['twilio'],
      variables: { TWILIO_BASE_URL: twilio.url, TWILIO_LOOKUP_BASE_URL: twilio.url },
      channels: ['sms'],
      steps: { sms: { providers: ['twilio'] } },
    })
    live = clientOf(system, system.liveKey)
  })
  afterAll(async () => {
    await system.stop()
    await twilio.close()
  })

  const refusedSend = async () => {
    const id = await live.sent(freshPhone(), { channels: ['sms'] })
    await until(async () => (await live.status(id)).state === 'failed')
    return id
  }

  test('a code about one country leaves the account in use; a wrong template is named by an alert', async () => {
    const answerWith = (status: number, code: number) =>
      twilio.answerWith(() => ({
        status,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          code,
          message: 'The number +233241234567 is not permitted.',
          status,
        }),
      }))
    answerWith(403, 21408)
    const id = await refusedSend()
    expect(await unhealthyProviders(system.db)).toEqual([])
    const codes = await system.db.many(
      sql`select provider_code as code from attempts where request_id = ${id}`,
    )
    expect(codes).toEqual([{ code: '21408' }])

    answerWith(400, 21654)
    for (let times = 0; times < 3; times++) await refusedSend()
    const accounts = [{ name: 'twilio', test: false }]
    await judgeAlerts(system.db, { accounts, sla: usualSla })
    const listed = await clientOf(system, system.operatorKey).call<{ alerts: { rule: string }[] }>(
      'GET',
      '/admin/alerts',
    )
    expect(listed.body.alerts.filter(({ rule }) => rule === 'account_refused')).toMatchObject([
      {
        detail: { provider: 'twilio', code: '21654', refusals: 3 },
        message: expect.stringContaining('twilio refused its last 3 messages with code 21654'),
      },
    ])
    expect(JSON.stringify(listed.body)).not.toContain('233241234567')
  })
})
