import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createApp } from '../../db/apps/apps'
import { findBehind } from '../../db/requests/backlog'
import type { Environment } from '../../core/requests/state'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>

beforeAll(async () => {
  requests = await requestsOnly()
  for (const id of ['evil', 'evil2', 'quiet', 'fourth', 'fifth'])
    await createApp(requests.db, { id, name: id })
  await createApp(requests.db, { id: 'european', name: 'European', region: 'eu' })
})
afterAll(() => requests.close())
afterEach(() =>
  requests.db.many(
    sql`update otp_requests set state = 'cancelled', reason = 'requested', workflow_started_at = now() - interval '1 hour'
      where state = 'pending' or attempt_seq > 0`,
  ),
)

interface Runs {
  count: number
  /** Since their start. */
  seconds?: number
  environment?: Environment
  claimed?: boolean
}

/** Requests of an app whose runs were started, and have claimed nothing. */
async function started(
  appId: string,
  { count, seconds = 12, environment = 'staging', claimed = false }: Runs,
): Promise<string[]> {
  const ids: string[] = []
  for (let turn = 0; turn < count; turn++) {
    const { requestId } = await requests.open({ appId, environment })
    if (claimed) await requests.claim(requestId, { isTestAccount: environment !== 'production' })
    ids.push(requestId)
  }
  await requests.db.many(sql`update otp_requests set
    workflow_started_at = now() - make_interval(secs => ${seconds}) where id in ${ids}`)
  return ids
}

const behind = async (region?: string) =>
  (await findBehind(requests.db, region)).map(({ appId, environment }) => `${appId} ${environment}`)

describe('sends are not refused', () => {
  test('for one run that stands still, whoever has it', async () => {
    await started('evil', { count: 1, seconds: 60 })
    expect(await behind()).toEqual([])
  })

  test('for one run of each of many apps while the others go on', async () => {
    for (const app of ['evil', 'evil2']) await started(app, { count: 1 })
    expect(await behind()).toEqual([])
    await started('fourth', { count: 1 })
    for (const app of ['app', 'quiet', 'fifth']) await started(app, { count: 1, claimed: true })
    expect(await behind()).toEqual([])
  })

  test('for a few that stand still among many that do not', async () => {
    await started('app', { count: 5 })
    await started('app', { count: 6, claimed: true })
    expect(await behind()).toEqual([])
  })

  test('for runs that were started just now, or long ago', async () => {
    await started('app', { count: 8, seconds: 8 })
    await started('evil', { count: 8, seconds: 130 })
    expect(await behind()).toEqual([])
  })

  test('for runs that were gone and started again', async () => {
    const ids = await started('app', { count: 8 })
    await requests.db.many(sql`update otp_requests set restarts = 1 where id in ${ids}`)
    expect(await behind()).toEqual([])
  })
})

describe('sends are refused', () => {
  test('of the app alone whose newest runs wait', async () => {
    await started('evil', { count: 40 })
    await started('app', { count: 6, claimed: true })
    expect(await behind()).toEqual(['evil staging'])
  })

  test('of test keys alone, where their runs wait', async () => {
    await started('app', { count: 6 })
    await started('app', { count: 6, environment: 'production', claimed: true })
    expect(await behind()).toEqual(['app staging'])
  })

  test('in the region of the app alone', async () => {
    await started('european', { count: 6 })
    expect(await behind()).toEqual([])
    expect(await behind('us')).toEqual([])
    expect(await behind('eu')).toEqual(['european staging'])
  })

  test('of every app, where the newest run of most of them waits', async () => {
    for (const app of ['app', 'quiet', 'fourth']) await started(app, { count: 1 })
    expect(await behind()).toEqual(['null staging'])
    for (const app of ['evil', 'evil2']) await started(app, { count: 1, claimed: true })
    expect(await behind()).toEqual(['null staging'])
  })

  test('until runs are claimed again', async () => {
    const ids = await started('app', { count: 10 })
    expect(await behind()).toEqual(['app staging'])
    for (const id of ids.slice(0, 6)) await requests.claim(id)
    expect(await behind()).toEqual([])
  })
})
