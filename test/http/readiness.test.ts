import { createServer, type RequestListener } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createApi } from '../../api/app'
import type { ReadinessAnswer } from '../../api/contract/health'
import type { ApiDeps } from '../../api/deps'
import { createDatabase, type Database } from '../../db'
import { apiDepsOf } from '../harness/api-deps'
import { clientOf, freshPhone, timed, until } from '../harness/client'
import { closeServer, listen } from '../harness/listening'
import { type Rig, startRig } from '../harness/rig'
import { startSystem, type System } from '../harness/system'

/** Kubernetes gives up a probe after this, unless told otherwise. */
const probeMs = 1_000
/** An answer is kept for a second; a part's answer takes two at most. */
const soonMs = 4_000

const probe = (url: string, path = '/readyz') =>
  timed(async () => {
    const response = await fetch(url + path)
    const { status, parts } = (await response.json()) as ReadinessAnswer
    return { code: response.status, status, parts }
  })

describe('a part is down', () => {
  let rig: Rig
  let client: ReturnType<typeof clientOf>
  beforeAll(async () => {
    rig = await startRig()
    client = clientOf(rig)
  }, 120_000)
  afterAll(() => rig.stop(), 60_000)

  const allOk = { postgres: 'ok', temporal: 'ok', worker: 'ok', sandbox: 'ok' }
  const untilReady = () =>
    until(async () => (await probe(rig.url)).code === 200, { what: 'readiness' })

  test('Temporal hangs: checks work, so the process stays ready; the body names what is down', async () => {
    const phone = freshPhone()
    await client.sent(phone, { channels: ['sms'] })
    const { code } = await until(async () => (await client.inbox(phone))[0], { what: 'a message' })
    expect(await probe(rig.url)).toMatchObject({ code: 200, parts: allOk })
    rig.temporal.freeze()
    try {
      const down = { ...allOk, temporal: 'down', worker: 'down' }
      await until(
        async () => {
          const seen = await probe(rig.url)
          expect(seen).toMatchObject({ code: 200, parts: { postgres: 'ok' } })
          expect(seen.ms).toBeLessThan(probeMs)
          return seen.parts.temporal === 'down' && seen.parts.worker === 'down'
        },
        { within: soonMs, what: 'the state of Temporal' },
      )
      const checked = await timed(() => client.verify({ phone_number: phone, code }))
      expect(checked).toMatchObject({ status: 200, body: { status: 'verified' } })
      expect(checked.ms).toBeLessThan(1_500)
      expect(await probe(rig.url, '/healthz/parts')).toMatchObject({
        status: 'degraded',
        parts: down,
      })
    } finally {
      rig.temporal.thaw()
    }
    await until(async () => (await probe(rig.url, '/healthz/parts')).parts.temporal === 'ok')
  })

  test.each(['down', 'freeze'] as const)(
    'Postgres (%s): not ready until it answers again, by itself',
    async (how) => {
      await untilReady()
      rig.apiDatabase[how]()
      try {
        const seen = await until(
          async () => {
            const answer = await probe(rig.url)
            return answer.code === 503 && answer
          },
          { within: soonMs, what: 'the state of Postgres' },
        )
        expect(seen).toMatchObject({ code: 503, parts: { postgres: 'down', temporal: 'ok' } })
        expect((await fetch(`${rig.url}/healthz`)).status).toBe(200)
      } finally {
        rig.apiDatabase.open()
      }
      await untilReady()
    },
  )
})

describe('what readiness costs and waits for', () => {
  let system: System
  const servers: { stop: () => Promise<void> }[] = []
  beforeAll(async () => {
    system = await startSystem({ withWorker: false })
  }, 60_000)
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    await system.stop()
  })

  /** Another API beside the system's, with readiness of its own. */
  async function apiWith(given: Partial<ApiDeps>): Promise<string> {
    const server = createServer(createApi(apiDepsOf(system, given)) as RequestListener)
    servers.push({ stop: () => closeServer(server) })
    return listen(server)
  }

  test('pools in use to the last connection are no outage', async () => {
    const busy = createDatabase(system.databaseUrl, { max: 1 })
    const url = await apiWith({ db: busy, checksDb: busy })
    const taken = await busy.pool.connect()
    try {
      const seen = await probe(url)
      expect(seen).toMatchObject({ code: 200, parts: { postgres: 'ok' } })
      expect(seen.ms).toBeLessThan(probeMs)
    } finally {
      taken.release()
      await busy.close()
    }
  })

  test('fifty callers at once, and whoever comes within a second, cost one statement', async () => {
    let statements = 0
    const readinessDb: Database = {
      ...system.db,
      one: (statement) => {
        statements += 1
        return system.db.one(statement)
      },
    }
    const url = await apiWith({ readinessDb })
    const since = performance.now()
    const answers = await Promise.all(Array.from({ length: 50 }, () => probe(url)))
    expect(answers.map(({ code }) => code)).toEqual(answers.map(() => 200))
    await probe(url, '/healthz/parts')
    // On a slow machine fifty calls take longer than an answer is kept.
    const seconds = Math.floor((performance.now() - since) / 1_000)
    expect(statements).toBeLessThanOrEqual(1 + seconds)
    const before = statements
    // An answer is kept for a second.
    await pause(1_100)
    await probe(url)
    expect(statements).toBe(before + 1)
  })

  test('where the first time is to wait for every part it does, and only the first time', async () => {
    const sandbox = createServer((_request, response) => void response.end('{}'))
    const url = await apiWith({ sandboxUrl: await listen(sandbox), readyAfter: 'everything' })
    const others = { postgres: 'ok', temporal: 'ok' }
    expect(await probe(url)).toMatchObject({
      code: 503,
      status: 'not_ready',
      parts: { ...others, worker: 'down', sandbox: 'ok' },
    })
    await system.startWorker()
    await until(async () => (await probe(url)).code === 200, { what: 'readiness' })
    await closeServer(sandbox)
    await until(async () => (await probe(url)).parts.sandbox === 'down', { what: 'its state' })
    expect(await probe(url)).toMatchObject({
      code: 200,
      status: 'ready',
      parts: { ...others, worker: 'ok', sandbox: 'down' },
    })
  })
})
