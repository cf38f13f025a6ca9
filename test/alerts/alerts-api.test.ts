import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { alertRuleNames } from '../../core/alerts/rule'
import { raiseAlert, resolveAlert } from '../../db/alerts/alerts'
import { createApiKey } from '../../db/apps/api-keys'
import { clientOf, until } from '../harness/client'
import { documentedCalls } from '../harness/documented'
import { keepAppHours } from '../harness/app-hours'
import { startReceiver } from '../harness/receiver'
import { startSystem, type System } from '../harness/system'
import { withinOne } from '../harness/windows'

interface Alert {
  alert_id: string
  app_id: string | null
  rule: string
  runbook: string
  acknowledged_by: string | null
  resolved_at: string | null
}
interface Page {
  alerts: Alert[]
  next_cursor: string | null
}

let system: System
beforeAll(async () => {
  system = await startSystem()
  for (const [appId, subject] of [
    ['app', 'GH'],
    ['app', 'NG'],
    ['app', 'KE'],
    ['other', ''],
    [null, 'acme'],
  ] as const)
    await raiseAlert(system.db, {
      ...{ appId, subject, environment: 'production', rule: 'volume_spike', severity: 'warning' },
      detail: { sends: 60, usual: 2 },
    })
  await resolveAlert(system.db, {
    ...{ appId: 'app', subject: 'KE', environment: 'production', rule: 'volume_spike' },
  })
})
afterAll(() => system.stop())
withinOne('hour', 20, () => system.db)

const keyOf = async (environment: 'production' | 'staging', appId: string | null = 'app') =>
  (await createApiKey(system.db, { appId, environment, scopes: ['admin'] })).key
const list = async (key: string, query = '') =>
  (await clientOf(system, key).call<Page>('GET', `/admin/alerts${query}`)).body

test('an operator sees all, an app’s key its own, its test key none of the live ones', async () => {
  const names = ({ alerts }: Page) => alerts.map(({ app_id }) => app_id)
  expect(names(await list(system.operatorKey))).toEqual([null, 'other', 'app', 'app', 'app'])
  expect(names(await list(system.operatorKey, '?app_id=other'))).toEqual(['other'])
  expect(names(await list(await keyOf('production')))).toEqual(['app', 'app', 'app'])
  expect(names(await list(await keyOf('staging')))).toEqual([])
})

test('by state, rule and time, page by page', async () => {
  const key = await keyOf('production')
  const subjects = async (query: string) => (await list(key, query)).alerts.length
  expect(await subjects('?state=open')).toBe(2)
  expect(await subjects('?state=resolved')).toBe(1)
  expect(await subjects('?rule=volume_spike')).toBe(3)
  expect(await subjects('?rule=budget')).toBe(0)
  expect(await subjects(`?from=${new Date(Date.now() + 60_000).toISOString()}`)).toBe(0)
  expect(await subjects(`?to=${new Date(Date.now() + 60_000).toISOString()}`)).toBe(3)
  const first = await list(key, '?limit=2')
  const second = await list(key, `?limit=2&cursor=${first.next_cursor ?? ''}`)
  expect([first.alerts.length, second.alerts.length, second.next_cursor]).toEqual([2, 1, null])
  expect(new Set([...first.alerts, ...second.alerts].map(({ alert_id }) => alert_id)).size).toBe(3)
  const refused = await clientOf(system, key).call('GET', '/admin/alerts?rule=none')
  expect(refused.status).toBe(400)
})

test('is acknowledged by whom it is about; every answer is as documented', async () => {
  const own = await documentedCalls(system.url, clientOf(system, await keyOf('production')))
  const { alerts } = await list(system.operatorKey)
  const idOf = (appId: string | null) =>
    alerts.find(({ app_id, resolved_at }) => app_id === appId && resolved_at === null)?.alert_id
  const acknowledge = (id: string | undefined) =>
    own('POST', `/admin/alerts/${id ?? ''}/acknowledge`)
  await own('GET', '/admin/alerts')
  const answer = await acknowledge(idOf('app'))
  expect(answer).toMatchObject({
    status: 200,
    body: { acknowledged_by: expect.stringMatching(/^key:/) },
  })
  expect((await acknowledge(idOf('other'))).status).toBe(404)
  expect((await acknowledge(idOf(null))).status).toBe(403)
  expect((await acknowledge('alr_aaaaaaaaaaaaaaaaaaaaaaaaaa')).status).toBe(404)
  const inTests = clientOf(system, await keyOf('staging'))
  expect((await inTests.call('POST', `/admin/alerts/${idOf('app')}/acknowledge`)).status).toBe(403)
})

test('each alert leads to a page that is there', async () => {
  const [alert] = (await list(system.operatorKey)).alerts
  expect(alert?.runbook).toBe(`${system.url}/runbooks/volume_spike`)
  for (const rule of alertRuleNames) {
    const page = await fetch(`${system.url}/runbooks/${rule}`)
    expect([page.status, page.headers.get('content-type')]).toEqual([
      200,
      'text/markdown; charset=utf-8',
    ])
    expect(await page.text()).toContain(`Alert \`${rule}\``)
  }
  expect((await fetch(`${system.url}/runbooks/..%2F..%2Fpackage.json`)).status).toBe(404)
})

test('the watch finds it in the sums, raises it and tells the app; nothing of it but counts is in Temporal', async () => {
  const receiver = await startReceiver()
  const operator = clientOf(system, system.operatorKey)
  await operator.call('POST', '/admin/event-endpoints', {
    ...{ app_id: 'app', environment: 'production', url: receiver.url, types: ['alert'] },
  })
  const hour = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000)
  await keepAppHours(system.db, [
    { appId: 'app', country: 'TJ', hour, sends: 20, matured: 20, converted: 0, due: 0 },
  ])
  const connection = await Connection.connect(system.temporal.connection)
  const result = await new Client({ connection }).workflow.execute('abuseWatch', {
    workflowId: `watch-${Date.now()}`,
    taskQueue: system.temporal.taskQueue,
  })
  await connection.close()
  expect(result).toMatchObject({ settled: 0 })
  const [alert] = (await list(system.operatorKey, '?rule=geographic_anomaly')).alerts
  expect(alert).toMatchObject({ app_id: 'app', subject: 'TJ', severity: 'critical' })
  const [event] = await until(async () => receiver.received.length > 0 && receiver.received)
  expect(event?.body).toMatchObject({
    ...{ type: 'alert', alert: 'geographic_anomaly', state: 'opened', alert_id: alert?.alert_id },
    ...{ subject: 'TJ', sends: 20, severity: 'critical', phone_number: null },
  })
  await receiver.close()
}, 60_000)
