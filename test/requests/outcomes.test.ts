import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { reportOutcome } from '../../activities/report-outcome'
import { recordAnswer } from '../../db/delivery/attempts'
import { closeOverdue } from '../../db/requests/ending'
import { closeRun, takeUntold } from '../../db/requests/outcomes'
import { createProviders } from '../../providers'
import { clientOf, freshPhone, type TestClient, until, untilState } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { requestsOnly } from '../harness/requests'
import { startSystem, type System } from '../harness/system'

describe('a provider that scores conversion is told', () => {
  let system: System
  let client: TestClient
  let temporal: Client
  beforeAll(async () => {
    system = await startSystem()
    client = clientOf(system)
    temporal = new Client({ connection: await Connection.connect(system.temporal.connection) })
  })
  afterAll(async () => {
    await temporal.connection.close()
    await system.stop()
  })

  const outcomesOf = async (phone: string) =>
    (await client.inbox(phone)).map((entry) => (entry as { outcome?: string }).outcome)
  const marked = (id: string) =>
    system.db.one(sql`select from otp_requests where id = ${id} and outcome_due_at is not null`)
  const sent = async () => {
    const phone = freshPhone()
    const id = await client.sent(phone, { channels: ['sms'] })
    const { code } = await until(async () => {
      const [message] = await client.inbox(phone)
      return message?.status === 'delivered' && message
    })
    return { phone, id, code }
  }

  // A sweeper reports what a run did not, but only after 15 s.
  test('of a code that came back, by the run itself', async () => {
    const { phone, id, code } = await sent()
    await client.verify({ request_id: id, code })
    await until(async () => (await outcomesOf(phone))[0] === 'verified', { within: 12_000 })
    await until(async () => !(await marked(id)))
  })

  test('of one that was cancelled', async () => {
    const { phone, id } = await sent()
    await client.call('POST', `/otp/${id}/cancel`)
    await until(async () => (await outcomesOf(phone))[0] === 'not_verified', { within: 12_000 })
  })

  test('of requests whose runs died, within a minute of the end', async () => {
    const [verified, expired] = await Promise.all([sent(), sent()])
    for (const { id } of [verified, expired])
      await temporal.workflow.getHandle(id).terminate('as if it were lost')
    await client.verify({ request_id: verified.id, code: verified.code })
    await system.db.many(sql`update otp_requests set created_at = created_at - interval '1 hour',
      expires_at = now() where id = ${expired.id}`)
    await untilState(client, expired.id, 'expired')
    const within = 60_000
    await until(async () => (await outcomesOf(verified.phone))[0] === 'verified', { within })
    await until(async () => (await outcomesOf(expired.phone))[0] === 'not_verified', { within })
    await until(async () => !(await marked(verified.id)) && !(await marked(expired.id)))
  }, 90_000)
})

describe('the mark', () => {
  let rig: Awaited<ReturnType<typeof requestsOnly>>
  /** What the provider was told, and how it answers; then 200. */
  const told: unknown[] = []
  const answers: number[] = []
  const server = createServer((req, res) => {
    void buffer(req).then((body) => {
      told.push(JSON.parse(body.toString()))
      res.writeHead(answers.shift() ?? 200).end('{}')
    })
  })
  let providers: ReturnType<typeof createProviders>
  beforeAll(async () => {
    rig = await requestsOnly()
    providers = createProviders(
      [{ name: 'sandbox-a', adapter: 'sandbox', channels: ['sms'], test: true }],
      { SANDBOX_URL: await listen(server), SANDBOX_SECRET: `whsec_${'c2VjcmV0'.repeat(6)}` },
    )
  })
  afterAll(async () => {
    await closeServer(server)
    await rig.close()
  })

  /** A request of which one message was taken, and that has ended. */
  async function ended({ attempts = 1 } = {}): Promise<string> {
    const { requestId } = await rig.open()
    for (let sendNo = 1; sendNo <= attempts; sendNo++) {
      const resendSeq = sendNo === 1 ? 0 : await rig.askedAgain(requestId)
      const { attemptId } = (await rig.claim(requestId, { sendNo, resendSeq })) ?? { attemptId: '' }
      const ref = { requestId, attemptId, runId: 'run' }
      const providerMessageId = `${requestId}-${sendNo}`
      await recordAnswer(rig.db, ref, { state: 'accepted', providerMessageId })
    }
    await rig.shiftTime(requestId, 400)
    await closeOverdue(rig.db, requestId, 'test')
    return requestId
  }
  const older = (requestId: string, seconds: number) =>
    rig.db
      .many(sql`update otp_requests set outcome_due_at = outcome_due_at - make_interval(secs => ${seconds}),
      ended_at = ended_at - make_interval(secs => ${seconds}) where id = ${requestId}`)
  const take = (region?: string) => takeUntold(rig.db, 100, region)
  const idsOf = async (taken: ReturnType<typeof take>) =>
    (await taken).map(({ requestId }) => requestId)
  const asRun = (requestId: string, given: { reports?: boolean; region?: string } = {}) =>
    closeRun(rig.db, requestId, { reports: true, region: undefined, ...given })

  test('is the run’s first; the sweeper takes it up when the run does not', async () => {
    const [first, second] = [await ended(), await ended()]
    expect(await idsOf(take())).toEqual([])
    expect(await asRun(first)).toBe(true)
    for (const id of [first, second]) await older(id, 16)
    expect(await idsOf(take())).toEqual([second])
    // A run that comes after all finds it taken.
    expect(await asRun(second)).toBe(false)
    expect(await asRun(first)).toBe(false)
  })

  test('is taken by one of many, whoever they are', async () => {
    const id = await ended()
    await older(id, 16)
    const takers = Array.from({ length: 20 }, (_, turn) =>
      turn % 2 === 0 ? asRun(id) : take().then((taken) => taken.length > 0),
    )
    expect((await Promise.all(takers)).filter(Boolean)).toHaveLength(1)
  })

  test('stays until the provider has taken the outcome, and no longer than ten minutes', async () => {
    const id = await ended()
    const log = pino({ level: 'silent' })
    const report = () =>
      reportOutcome({ db: rig.db, providers, log }, { requestId: id, state: 'expired' })
    answers.push(500)
    expect(await asRun(id)).toBe(true)
    await report()
    await older(id, 31)
    expect(await idsOf(take())).toEqual([id])
    await report()
    const same = { outcome: 'not_verified', provider_message_id: `${id}-1` }
    expect(told).toEqual([same, same])
    await older(id, 31)
    expect(await idsOf(take())).toEqual([])

    const late = await ended()
    await older(late, 700)
    expect(await idsOf(take())).toEqual([])
    expect(
      await rig.db.many(
        sql`select id from otp_requests where outcome_due_at is not null and id = ${late}`,
      ),
    ).toEqual([])
  })

  test('goes when the provider will not have the outcome', async () => {
    const id = await ended()
    answers.push(404)
    expect(await asRun(id)).toBe(true)
    await reportOutcome(
      { db: rig.db, providers, log: pino({ level: 'silent' }) },
      { requestId: id, state: 'expired' },
    )
    await older(id, 60)
    expect(await idsOf(take())).toEqual([])
  })

  test('is not made where nobody was asked to send, and goes where nobody wants to know', async () => {
    const unsent = await ended({ attempts: 0 })
    const unwanted = await ended()
    expect(await asRun(unsent)).toBe(false)
    expect(await asRun(unwanted, { reports: false })).toBe(false)
    for (const id of [unsent, unwanted]) await older(id, 60)
    expect(await idsOf(take())).toEqual([])
  })

  test('of another region’s app is left to a process there', async () => {
    await rig.db.many(sql`update apps set region = 'eu'`)
    const { requestId } = await rig.open()
    await rig.claim(requestId, { region: 'eu' })
    await rig.shiftTime(requestId, 400)
    await closeOverdue(rig.db, requestId, 'test')
    expect(await asRun(requestId, { region: 'us' })).toBe(false)
    await older(requestId, 16)
    expect(await idsOf(take('us'))).toEqual([])
    expect(await idsOf(take('eu'))).toEqual([requestId])
    await rig.db.many(sql`update apps set region = null`)
  })
})
