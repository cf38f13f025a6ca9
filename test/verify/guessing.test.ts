import { afterAll, beforeAll, beforeEach, expect, jest, test } from '@jest/globals'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import pino from 'pino'
import { createGuessing } from '../../api/guessing'
import { guessing } from '../../core/limits'
import { createDatabase } from '../../db'
import type { App } from '../../db/apps/apps'
import { checkCode } from '../../db/verify/checks'
import { sumGuesses } from '../../db/verify/guessing'
import { until } from '../harness/client'
import { requestsOnly } from '../harness/requests'

type Requests = Awaited<ReturnType<typeof requestsOnly>>
let requests: Requests
let requestId: string

beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

// Every test guesses at an app of its own.
let apps = 0
let app: App
beforeEach(async () => {
  app = { id: `guessed${++apps}`, codeLength: 6, lengthenUnderGuessing: true } as App
  await requests.db.many(sql`insert into apps (id, name, brand) values (${app.id}, 'A', 'A')`)
  ;({ requestId } = await requests.open({ appId: app.id }))
})

/** Audit rows as checks of the app's request leave them. */
const wrongChecks = (count: number, { secondsAgo = 0, detail = {} } = {}) =>
  requests.db.many(sql`
    with numbered as (
      update otp_requests set audit_seq = audit_seq + ${count} where id = ${requestId}
      returning audit_seq - ${count}::int as first
    )
    insert into audit_events (request_id, app_id, sequence, type, actor, detail, at)
    select ${requestId}, ${app.id}, first + n, 'check_rejected', 'test',
      ${JSON.stringify({ error_code: 'INVALID_CODE', attempts_remaining: 3, ...detail })}::jsonb,
      now() - make_interval(secs => ${secondsAgo})
    from numbered, generate_series(1, ${count}) n`)

/** As a process that has just started sees it. */
const watch = () => createGuessing({ db: requests.db, logger: pino({ level: 'silent' }) })

const alerts = async () =>
  requests.db.many<{ level: string; environment: string }>(sql`
    select detail->>'level' as level, detail->>'environment' as environment from audit_events
    where chain = ${`app:${app.id}`} and type = 'alert' order by sequence`)

const expectedOf = async () =>
  (await sumGuesses(requests.db)).find(({ appId }) => appId === app.id)?.expected

test('real checks are summed by what they are worth; refusals of ended requests are not', async () => {
  const code = await requests.codeOf(requestId)
  const owner = { appId: app.id, environment: 'staging' as const }
  const wrong = code === '000000' ? '000001' : '000000'
  for (let i = 0; i < 8; i++)
    await checkCode(requests.db, requests.keyring, {
      ...owner,
      by: { requestId },
      code: wrong,
      actor: 'test',
    })
  // The fifth locks; the other three found a locked request.
  expect(await expectedOf()).toBeCloseTo(5e-6, 9)
})

test('checks of requests that are over, however many, hide no wrong code', async () => {
  await wrongChecks(1_500, { secondsAgo: 600 })
  // As of a request that has ended: nothing was guessed at.
  await wrongChecks(guessing.counted + 100, {
    detail: { error_code: undefined, state: 'verified' },
  })
  expect(await expectedOf()).toBeCloseTo(1.5e-3, 9)
})

test('longer codes weigh less, and what is a day old nothing', async () => {
  await wrongChecks(100, { secondsAgo: 86_500 })
  expect(await expectedOf()).toBeUndefined()
  await wrongChecks(100)
  expect(await expectedOf()).toBeCloseTo(1e-4, 9)
  await requests.db.many(sql`update otp_requests set code_length = 8 where id = ${requestId}`)
  expect(await expectedOf()).toBeCloseTo(1e-6, 9)
})

test('at a thousand wrong checks of six digits there is one alert, however many processes see it', async () => {
  await wrongChecks(999)
  await watch().codeLength(app, 'staging')
  // An alert that is not raised has nothing that comes after it.
  await pause(50)
  expect(await alerts()).toEqual([])
  await wrongChecks(1)
  await Promise.all(Array.from({ length: 8 }, () => watch().codeLength(app, 'staging')))
  expect(await alerts()).toEqual([{ level: 'warn', environment: 'staging' }])
  expect(await watch().codeLength(app, 'staging')).toBe(6)
  // An hour later another one is due.
  const superuser = createDatabase(requests.adminUrl, { max: 1 })
  await superuser.transaction(async (tx) => {
    await tx.many(sql`set local session_replication_role = replica`)
    await tx.many(
      sql`update audit_events set at = at - interval '1 hour' where chain = ${`app:${app.id}`}`,
    )
  })
  await superuser.close()
  await watch().codeLength(app, 'staging')
  expect(await alerts()).toHaveLength(2)
})

test('at ten thousand the codes of that app and environment get two characters more, ten at most', async () => {
  await wrongChecks(10_000)
  const watched = watch()
  expect(await watched.codeLength(app, 'staging')).toBe(8)
  expect(await watched.codeLength({ ...app, codeLength: 9 }, 'staging')).toBe(10)
  expect(await watched.codeLength(app, 'production')).toBe(6)
  expect(await watched.codeLength({ ...app, lengthenUnderGuessing: false }, 'staging')).toBe(6)
  expect(await watched.codeLength({ ...app, id: 'app' }, 'staging')).toBe(6)
  expect(await alerts()).toEqual([{ level: 'high', environment: 'staging' }])
  const [installation] = await requests.db.many(sql`select detail from audit_events
    where chain = 'admin' and type = 'alert' and detail->>'level' = 'high'`)
  expect(installation).toMatchObject({ detail: { alert: 'guessing', environment: 'staging' } })
})

test('of more wrong checks than are counted the newest stand for the day', async () => {
  const { counted } = guessing
  await wrongChecks(counted, { secondsAgo: 3_600 })
  // 20,000 an hour are 480,000 a day.
  expect(await expectedOf()).toBeCloseTo(0.48, 2)
  // What is older than they are is not looked at, and what is newer counts first.
  await requests.db.many(sql`update otp_requests set code_length = 8 where id = ${requestId}`)
  ;({ requestId } = await requests.open({ appId: app.id }))
  await wrongChecks(counted / 2, { secondsAgo: 1_800 })
  expect(await expectedOf()).toBeCloseTo((10_000 * 24) / 1e6 + (10_000 * 24) / 1e8, 3)
}, 30_000)

test('a check is not kept waiting by the sum, and where it fails from the start codes are longer', async () => {
  const failing = createGuessing({
    db: {
      ...requests.db,
      many: () => Promise.reject(new Error('Postgres is down')),
    },
    logger: pino({ level: 'silent' }),
  })
  failing.noticeWrong()
  expect(await failing.codeLength(app, 'staging')).toBe(8)
  expect(await failing.codeLength({ ...app, lengthenUnderGuessing: false }, 'staging')).toBe(6)
})

test('a sum that fails later changes nothing', async () => {
  const answers = [() => Promise.resolve([]), () => Promise.reject(new Error('Postgres is down'))]
  const failing = createGuessing({
    db: { ...requests.db, many: () => (answers.shift() ?? (() => Promise.resolve([])))() },
    logger: pino({ level: 'silent' }),
  })
  expect(await failing.codeLength(app, 'staging')).toBe(6)
  jest.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_000)
  try {
    failing.noticeWrong()
    await until(async () => answers.length === 0)
    expect(await failing.codeLength(app, 'staging')).toBe(6)
  } finally {
    jest.restoreAllMocks()
  }
})
