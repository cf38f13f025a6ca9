import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { freePort } from '../../cli/ports'
import { hookRoutes } from '../../api/routes/admin/pre-send-hook'
import { createHooks } from '../../api/protection/hook'
import { callHook } from '../../api/protection/hook-call'
import { HookCircuit } from '../../api/protection/hook-circuit'
import { idOfKey } from '../../codes/api-key'
import { hookLimits } from '../../core/protection/hook'
import { findApiKey } from '../../db/apps/api-keys'
import { createGuardedDispatcher } from '../../events/dispatcher'
import { apiDepsOf } from '../harness/api-deps'
import { freshPhone, timed } from '../harness/client'
import { type Hooked, inWords, says, startHooked } from '../harness/hooked-apps'
import type { Answer } from '../harness/receiver'

let hooked: Hooked
beforeAll(async () => void (hooked = await startHooked()))
afterAll(() => hooked.stop())
beforeEach(() => hooked.allowAll())

const appWithHook: Hooked['appWithHook'] = (given) => hooked.appWithHook(given)

describe('one that gives no answer', () => {
  const silent: [string, Answer][] = [
    ['slow', says({ action: 'allow' }, { after: 1_500 })],
    ['an error', says({ action: 'allow' }, { status: 500 })],
    ['a redirect', says({ action: 'allow' }, { status: 302, headers: { location: '/elsewhere' } })],
    ['no JSON', { body: 'yes' }],
    ['another shape', says({ action: 'maybe' })],
    ['a member that there is not', says({ action: 'alter', chanels: ['sms'] })],
    ['channels that do not go there', says({ action: 'alter', channels: ['email'] })],
    ['a huge body', says({ action: 'allow', reason: 'x'.repeat(5_000) })],
  ]
  test.each(silent)('%s: what the app chose happens', async (_what, answer) => {
    hooked.receiver.answer(() => answer)
    const outcomes: Record<string, string> = {}
    for (const on_failure of ['allow', 'deny', 'challenge'] as const) {
      const { client, calls } = await appWithHook({ on_failure })
      outcomes[on_failure] = inWords(await client.send(freshPhone()))
      expect(calls()).toHaveLength(1)
    }
    expect(outcomes).toEqual({
      allow: '200',
      deny: '403 BLOCKED',
      challenge: '403 CHALLENGE_REQUIRED',
    })
    expect(hooked.receiver.received.map((call) => call.path)).not.toContain('/elsewhere')
  })

  test('nobody listens there', async () => {
    const url = `http://127.0.0.1:${await freePort()}/`
    const { client } = await appWithHook({ on_failure: 'deny', url })
    const refused = await client.send(freshPhone())
    expect(inWords(refused)).toBe('403 BLOCKED')
    expect(refused.body).toMatchObject({ message: expect.stringContaining('connection_refused') })
  })

  test('after some failures it is left alone, and its sockets are not piled up', async () => {
    const { client, calls } = await appWithHook()
    hooked.receiver.answer(() => says({ action: 'allow' }, { after: 3_000 }))
    for (let turn = 0; turn < hookLimits.failures; turn++) await client.sent(freshPhone())
    const before = calls().length
    const quick = await timed(() => client.send(freshPhone()))
    expect(quick.status).toBe(200)
    expect(calls()).toHaveLength(before)
  }, 20_000)

  test('a send that finds it busy does not wait in a queue for it', async () => {
    const circuit = new HookCircuit()
    const entered = Array.from({ length: hookLimits.atOnce + 3 }, () => circuit.enter())
    expect(entered.filter(Boolean)).toHaveLength(hookLimits.atOnce)
    circuit.leave(true)
    expect(circuit.enter()).toBe(true)
  })

  test('one send tries it after the pause; an answer has all of them ask again', () => {
    let now = 0
    const circuit = new HookCircuit(() => now)
    for (let turn = 1; turn <= hookLimits.failures; turn++) {
      expect(circuit.enter()).toBe(true)
      expect(circuit.leave(false)).toBe(turn === hookLimits.failures)
    }
    expect(circuit.enter()).toBe(false)
    now += hookLimits.pauseMs
    expect([circuit.enter(), circuit.enter()]).toEqual([true, false])
    circuit.leave(false)
    expect(circuit.enter()).toBe(false)
    now += hookLimits.pauseMs
    expect(circuit.enter()).toBe(true)
    circuit.leave(true)
    expect([circuit.enter(), circuit.enter()]).toEqual([true, true])
  })
})

describe('where it may be', () => {
  const production = { isProduction: true }
  test.each(['https://127.0.0.1:8443/', 'https://localhost:8443/', 'http://shop.example/'])(
    '%s is not called in production',
    async (url) => {
      const dispatcher = createGuardedDispatcher(production)
      const hook = { appId: 'app', url, onFailure: 'allow' as const, secrets: () => ['whsec_YWJj'] }
      expect(await callHook({ dispatcher, reach: production }, hook, {})).toEqual({
        fault: 'address_refused',
      })
      const deps = apiDepsOf(hooked.system, production)
      const [put] = hookRoutes(deps, createHooks(deps))
      const key = await findApiKey(hooked.system.db, idOfKey(hooked.system.operatorKey) ?? '')
      const call = put?.handle({
        body: { app_id: 'app', url, on_failure: 'deny' },
        query: {},
        params: {},
        search: '',
        raw: Buffer.alloc(0),
        headers: {},
        key,
        client: { address: '127.0.0.1', network: '127.0.0.1' },
        signal: new AbortController().signal,
      })
      await expect(call).rejects.toMatchObject({ code: 'INVALID_ENDPOINT' })
      await dispatcher.close()
    },
  )
})
