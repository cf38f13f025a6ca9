import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import type { AlertPolicy } from '../../core/alerts/policy'
import { raiseAlert, resolveAlert } from '../../db/alerts/alerts'
import { startAlertSender } from '../../events/alert-sender'
import { createGuardedDispatcher } from '../../events/dispatcher'
import { until } from '../harness/client'
import { startMailServer } from '../harness/mail-server'
import { accountAt } from '../harness/mailer'
import { startReceiver } from '../harness/receiver'
import { requestsOnly } from '../harness/requests'
import { watchedApp } from '../harness/watched-app'

let requests: Awaited<ReturnType<typeof requestsOnly>>
beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

type Watched = Awaited<ReturnType<typeof watchedApp>>
let appId: Watched['appId']
let wave: Watched['wave']
let own: Watched['own']
beforeEach(async () => {
  ;({ appId, wave, own } = await watchedApp(requests))
})

describe('people are told', () => {
  const stops: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop()
    await requests.db.many(sql`update alert_notices set due_at = null`)
  })
  beforeEach(() => requests.db.many(sql`update alert_notices set due_at = null`))

  /** All that was raised has been told, and a sender takes nothing up again. */
  const nothingIsDue = () =>
    until(
      async () =>
        (await requests.db.one(sql`select from alert_notices where due_at is not null`)) ===
        undefined,
      { what: 'the end of all notices' },
    )

  async function sending({
    policy = {},
    slack = {},
    email = [],
    mailPort,
  }: {
    policy?: AlertPolicy
    slack?: Record<string, string>
    email?: string[]
    mailPort?: number
  }) {
    const reach = { isProduction: false }
    const dispatcher = createGuardedDispatcher(reach)
    const mailer = mailPort === undefined ? undefined : accountAt(mailPort).mailer
    const start = () =>
      startAlertSender({
        db: requests.db,
        dispatcher,
        reach,
        receivers: () => ({
          policy,
          slack: new Map(Object.entries(slack)),
          email,
          mail: mailer && ((letter, signal) => mailer.mail(letter, signal)),
        }),
        publicUrl: 'https://otp.example.com',
        log: pino({ level: 'silent' }),
      })
    const senders = [start(), start()]
    stops.push(async () => {
      await Promise.all(senders.map((sender) => sender.stop()))
      await dispatcher.destroy()
    })
  }
  const slackOf = async (...given: Parameters<typeof startReceiver>) => {
    const receiver = await startReceiver(...given)
    stops.push(() => receiver.close())
    return receiver
  }

  test('by a webhook in Slack’s form, once, by two senders; then of its end', async () => {
    const slack = await slackOf()
    await sending({ slack: { ops: `${slack.url}/services/T0/B0/secret` } })
    await raiseAlert(requests.db, wave({ subject: 'GH' }))
    await until(async () => slack.received.length === 1)
    await resolveAlert(requests.db, wave({ subject: 'GH' }))
    await until(async () => slack.received.length === 2)
    await nothingIsDue()
    expect(slack.received).toHaveLength(2)
    const [opened, resolved] = slack.received.map(({ body }) => body as unknown as SlackBody)
    const id = (await own())[0]?.id ?? 'none'
    expect(opened?.text).toBe(
      `[warning] app ${appId}, production: many requests are locked by wrong codes (GH)`,
    )
    const block = opened?.blocks[0]?.text.text ?? ''
    expect(block).toContain('12 requests were locked in two hours; usual is 0.1.')
    expect(block).toContain('https://otp.example.com/runbooks/lockout_wave')
    expect(block).toContain(`/admin/alerts/${id}/acknowledge`)
    expect(resolved?.text).toBe(
      `[resolved] app ${appId}, production: over: many requests are locked by wrong codes (GH)`,
    )
  })

  test('after an outage of the webhook, while others have heard at once and only once', async () => {
    let isDown = true
    const down = await slackOf(() => (isDown ? { status: 500 } : {}))
    const up = await slackOf()
    await sending({ slack: { down: down.url, up: up.url } })
    await raiseAlert(requests.db, wave())
    await until(async () => up.received.length === 1 && down.received.length === 1)
    isDown = false
    await until(async () => down.received.length === 2)
    await nothingIsDue()
    expect([up.received.length, down.received.length]).toEqual([1, 2])
    const rows = await requests.db
      .many(sql`select n.due_at, n.tries, n.told_to, n.fault from alert_notices n
      join alerts a on a.id = n.alert_id where a.app_id = ${appId}`)
    expect(rows).toEqual([
      {
        due_at: null,
        tries: 2,
        told_to: expect.arrayContaining(['slack:up', 'slack:down']),
        fault: null,
      },
    ])
  }, 30_000)

  test('of a storm by one message each, which names the critical ones first', async () => {
    const slack = await slackOf()
    const storm = Array.from({ length: 40 }, (_, index) =>
      wave({
        subject: `S${index}`,
        ...(index === 30 && { severity: 'critical' as const }),
      }),
    )
    for (const alert of storm) await raiseAlert(requests.db, alert)
    await sending({ slack: { ops: slack.url } })
    const left = () =>
      requests.db.many(sql`select n.id from alert_notices n
        join alerts a on a.id = n.alert_id where a.app_id = ${appId} and (due_at is not null or fault is not null
          or told_to <> '{slack:ops}')`)
    await until(async () => (await left()).length === 0)
    // Two senders, each of which may have taken a part.
    expect(slack.received.length).toBeLessThanOrEqual(2)
    const bodies = slack.received.map(({ body }) => body as unknown as SlackBody)
    const counts = bodies.map(({ text }) => Number(/^(\d+) alerts at once/.exec(text)?.[1]))
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(40)
    expect(bodies.some(({ text }) => text.includes('the first: [critical]'))).toBe(true)
    for (const { blocks } of bodies) expect(blocks[0]?.text.text.length).toBeLessThan(3_000)
  })

  test('by e-mail, through the SMTP account; a bounce of the server is tried again', async () => {
    const server = await startMailServer({ MAIL: '451 4.3.0 later' })
    stops.push(() => server.close())
    await sending({ email: ['ops@example.org', 'dev@example.org'], mailPort: server.port })
    await raiseAlert(requests.db, wave())
    await until(async () => server.seen.commands.some((command) => command.startsWith('MAIL')))
    expect(server.seen.mails).toEqual([])
    server.behave({})
    await until(async () => server.seen.mails.length === 1)
    const [mail = ''] = server.seen.mails
    expect(mail).toMatch(/^To: ops@example\.org, dev@example\.org/m)
    expect(mail).toMatch(/^Subject: \[warning\] app/m)
    expect(mail).toContain('12 requests were locked')
    expect(server.seen.commands.filter((command) => command.startsWith('RCPT')).slice(-2)).toEqual([
      'RCPT TO:<ops@example.org>',
      'RCPT TO:<dev@example.org>',
    ])
  }, 30_000)

  test('whom the policy names: by app, rule and severity; test environments nobody', async () => {
    const [ops, shop] = [await slackOf(), await slackOf()]
    await sending({
      slack: { ops: ops.url, shop: shop.url },
      policy: {
        receivers: [
          { name: 'critical', when: { severity: 'critical' }, slack: ['ops'] },
          {
            name: 'shop',
            when: { apps: [appId], rules: ['lockout_wave'] },
            slack: ['shop', 'ops'],
          },
        ],
      },
    })
    await raiseAlert(requests.db, wave({ environment: 'staging', severity: 'critical' }))
    await raiseAlert(requests.db, wave({ rule: 'refusal_wave' }))
    await raiseAlert(requests.db, wave({ rule: 'volume_spike', severity: 'critical' }))
    await raiseAlert(requests.db, wave({ severity: 'critical' }))
    await until(async () => shop.received.length === 1 && ops.received.length === 2)
    await nothingIsDue()
    expect([shop.received.length, ops.received.length]).toEqual([1, 2])
    const rules = ops.received.map(({ raw }) => /runbooks\/(\w+)/.exec(raw)?.[1])
    expect(new Set(rules)).toEqual(new Set(['lockout_wave', 'volume_spike']))
  })

  test('no webhook leads inside in production', async () => {
    const inside = await slackOf()
    const reach = { isProduction: true }
    const dispatcher = createGuardedDispatcher(reach)
    const sender = startAlertSender({
      ...{ db: requests.db, dispatcher, reach, publicUrl: 'https://otp.example.com' },
      receivers: () => ({
        ...{ policy: {}, email: [], mail: undefined },
        slack: new Map([['ops', inside.url]]),
      }),
      log: pino({ level: 'silent' }),
    })
    stops.push(async () => {
      await sender.stop()
      await dispatcher.destroy()
    })
    await raiseAlert(requests.db, wave())
    const fault = async () =>
      (
        await requests.db.one<{ fault: string | null }>(sql`select n.fault from alert_notices n
          join alerts a on a.id = n.alert_id where a.app_id = ${appId}`)
      )?.fault
    await until(async () => (await fault()) === 'slack:ops: address_refused')
    expect(inside.received).toEqual([])
  })
})

interface SlackBody {
  text: string
  blocks: { text: { text: string } }[]
}
