import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { Environment } from '../../core/requests/state'
import { lastDecision } from '../../db/protection/decision-log'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { openRequest } from '../../db/requests/sends'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { sendInput } from '../harness/seed'
import { startSystem, type System } from '../harness/system'
import { shown } from '../harness/visitor'

let system: System
let operator: TestClient

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  operator = clientOf(system, system.operatorKey)
})
afterAll(() => system?.stop())

let lastApp = 0
/** An app of its own, whose sends meet no other test's. */
async function freshApp() {
  const app = `decided-${++lastApp}`
  await createApp(system.db, { id: app, name: app })
  const keyFor = async (environment: Environment, scopes: string[]) =>
    clientOf(system, (await createApiKey(system.db, { appId: app, environment, scopes })).key)
  /** As a live key's, in mode block. */
  const attack = async (prefix: string) => {
    const outcomes: string[] = []
    for (let index = 0; index < 9; index++) {
      const value = `${prefix}${String((index * 1_733) % 10_000).padStart(4, '0')}`
      const input = sendInput({
        appId: app,
        environment: 'production',
        recipient: { kind: 'phone', value },
        protection: { ...sendInput().protection, mode: 'block' },
      })
      outcomes.push((await openRequest(system.db, system.keyring, input)).outcome)
    }
    return outcomes
  }
  return { app, keyFor, attack }
}

describe('decisions', () => {
  interface Decisions {
    decisions: { decision_id: string; verdict: string; findings: { rule: string }[] }[]
    next_cursor: string | null
  }
  const read = async (by: TestClient, query = '') =>
    (await by.call<Decisions>('GET', `/admin/decisions${query}`)).body

  test('say of every send, refused ones too, which rule said what', async () => {
    const { app, keyFor, attack } = await freshApp()
    const admin = await keyFor('production', ['admin'])
    const outcomes = await attack('+23324123')
    const { decisions } = await read(admin)
    expect(decisions.map(({ verdict }) => verdict).reverse()).toEqual(
      outcomes.map((outcome) => (outcome === 'created' ? 'allowed' : 'blocked')),
    )
    expect(decisions[0]).toMatchObject({
      app_id: app,
      environment: 'production',
      country: 'GH',
      mode: 'block',
      findings: [{ rule: 'blocked', scope: 'block', label: '+23324123' }],
      outcome: null,
    })
    const refused = await read(admin, '?verdict=blocked&limit=1')
    expect(refused.decisions).toHaveLength(1)
    const next = await read(admin, `?verdict=blocked&limit=1&cursor=${refused.next_cursor}`)
    expect(next.decisions[0]?.decision_id).not.toBe(refused.decisions[0]?.decision_id)
    // Plain ones would count the sends of all apps.
    for (const { decision_id } of decisions) expect(decision_id).toMatch(/^\d{30,39}$/)
    expect(refused.next_cursor).toBe(refused.decisions[0]?.decision_id)
    expect(shown(await admin.call('GET', '/admin/decisions?cursor=17'))).toBe('400 INVALID_REQUEST')
    expect((await read(admin, '?since=2100-01-01T00:00:00Z')).decisions).toEqual([])
    expect(
      (await read(await (await freshApp()).keyFor('production', ['admin']))).decisions,
    ).toEqual([])
    for (const query of ['?verdict=maybe', '?since=yesterday', '?cursor=x', '?request_id=%00'])
      expect(shown(await admin.call('GET', `/admin/decisions${query}`))).toBe('400 INVALID_REQUEST')
  })

  test('are read newest first to the last one, whatever the length of their ids', async () => {
    const { app } = await freshApp()
    // No other test of this file comes so far.
    const made = [9_998, 9_999, 10_000, 10_001, 99_999, 100_000]
    await system.db.many(sql`
      insert into send_decisions (id, request_id, app_id, environment, at, verdict, mode) overriding system value
      select id, 'otp_of_ids', ${app}, 'production', now(), case when id % 2 = 0 then 'allowed' else 'blocked' end, 'block'
      from unnest(${sql.param(made)}::bigint[]) id`)
    const newestFirst = made.toReversed().map(String)
    for (const [filter, expected] of [
      ['', newestFirst],
      ['&verdict=blocked', newestFirst.filter((id) => Number(id) % 2 === 1)],
      ['&environment=production', newestFirst],
      ['&request_id=otp_of_ids', newestFirst],
    ] as const) {
      const seen: string[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const page: Decisions = await read(
          operator,
          `?app_id=${app}&limit=3${filter}${cursor && `&cursor=${cursor}`}`,
        )
        seen.push(...page.decisions.map(({ decision_id }) => decision_id))
        cursor = page.next_cursor
      }
      expect([filter, seen]).toEqual([filter, expected])
    }
    const owner = { appId: app, environment: 'production' as const }
    const newest = await lastDecision(system.db, { ...owner, requestId: 'otp_of_ids' })
    expect(newest?.id).toBe(newestFirst[0])
  })

  test('hold nothing that stands for an address', async () => {
    const { app, keyFor } = await freshApp()
    const staging = await keyFor('staging', ['send', 'read'])
    const phones = Array.from({ length: 14 }, () => freshPhone())
    const ids: string[] = []
    for (const phone of phones) {
      const sent = await staging.send(phone, { ip_address: '8.8.4.4' })
      if (sent.status === 200) ids.push(sent.body.request_id)
    }
    const { protection } = await staging.status(ids.at(-1) ?? '')
    expect(protection).toMatchObject({ verdict: 'allowed', mode: 'observe' })
    const digest = await system.db.one<{ name: string }>(
      sql`select name from send_standings where name like ${`staging|${app}|ip|%`}`,
    )
    const hex = digest?.name.split('|').at(-1) ?? 'none'
    expect(hex).toMatch(/^[0-9a-f]{32}$/)
    const all = JSON.stringify([await read(operator, `?app_id=${app}`), protection])
    expect(all).not.toContain(hex)
    for (const phone of phones) expect(all).not.toContain(phone.slice(1))
  })
})
