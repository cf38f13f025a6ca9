import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { z } from 'zod'
import { ProblemBody } from '../../api/contract/common'
import { HealthAnswer, PartsAnswer, ReadinessAnswer } from '../../api/contract/health'
import { DeletedAnswer, PreferenceAnswer } from '../../api/contract/preferences'
import { ChallengeAnswer } from '../../api/contract/challenge'
import { CommandAnswer, SendAnswer } from '../../api/contract/send'
import { SearchAnswer, StatusAnswer } from '../../api/contract/status'
import { VerifyAnswer } from '../../api/contract/verify'
import { clientOf, freshPhone, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

interface Reply {
  description: string
  content?: Record<string, { schema?: unknown }>
}
interface Operation {
  operationId: string
  summary: string
  security: unknown[]
  'x-scope'?: string
  requestBody?: { content: Record<string, { schema?: unknown; example?: unknown }> }
  responses: Record<string, Reply>
}
interface Document {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, unknown> }
}

let system: System
let client: TestClient
let operator: TestClient
let document: Document

beforeAll(async () => {
  system = await startSystem()
  client = clientOf(system)
  operator = clientOf(system, system.operatorKey)
  document = (await (await fetch(`${system.url}/openapi.json`)).json()) as Document
})
afterAll(() => system.stop())

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  )

describe('the document', () => {
  test('names every call of the contract', () => {
    expect(operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`)).toEqual([
      'POST /otp/send',
      'GET /otp/challenge',
      'POST /otp/verify',
      'GET /otp/{request_id}',
      'POST /otp/{request_id}/resend',
      'POST /otp/{request_id}/next',
      'POST /otp/{request_id}/cancel',
      'POST /otp/search',
      'PUT /preferences',
      'POST /preferences/lookup',
      'POST /preferences/delete',
      'POST /consent/withdraw',
      'POST /webhooks/otp-status',
      'POST /webhooks/{provider}',
      'GET /webhooks/{provider}',
      'POST /webhooks/{provider}/secret/{secret}',
      'POST /webhooks/{provider}/inbound',
      'POST /webhooks/{provider}/secret/{secret}/inbound',
      'POST /webhooks/{provider}/{token}',
      'GET /webhooks/{provider}/{token}',
      'POST /webhooks/{provider}/{token}/answer',
      'POST /webhooks/{provider}/secret/{secret}/answer',
      'POST /ussd/{provider}/session',
      'POST /ussd/{provider}/{secret}',
      'POST /admin/apps',
      'GET /admin/apps',
      'GET /admin/apps/{app_id}',
      'PATCH /admin/apps/{app_id}',
      'GET /admin/apps/{app_id}/templates',
      'PUT /admin/apps/{app_id}/templates/{channel}/{locale}',
      'DELETE /admin/apps/{app_id}/templates/{channel}/{locale}',
      'POST /admin/apps/{app_id}/templates/preview',
      'POST /admin/keys',
      'GET /admin/keys',
      'GET /admin/keys/{key_id}',
      'DELETE /admin/keys/{key_id}',
      'POST /admin/keys/{key_id}/rotate',
      'POST /admin/recipients/unlock',
      'POST /admin/erasures',
      'POST /admin/lists',
      'GET /admin/lists',
      'DELETE /admin/lists/{entry_id}',
      'POST /admin/test-numbers',
      'GET /admin/test-numbers',
      'DELETE /admin/test-numbers/{test_number_id}',
      'GET /admin/audit',
      'GET /admin/providers',
      'GET /admin/budgets',
      'GET /admin/blocks',
      'POST /admin/blocks',
      'POST /admin/blocks/{block_id}/lift',
      'GET /admin/decisions',
      'PUT /admin/pre-send-hook',
      'GET /admin/pre-send-hook',
      'DELETE /admin/pre-send-hook',
      'POST /admin/pre-send-hook/rotate-secret',
      'POST /admin/event-endpoints',
      'GET /admin/event-endpoints',
      'GET /admin/event-endpoints/{endpoint_id}',
      'PATCH /admin/event-endpoints/{endpoint_id}',
      'DELETE /admin/event-endpoints/{endpoint_id}',
      'POST /admin/event-endpoints/{endpoint_id}/rotate-secret',
      'POST /admin/event-endpoints/{endpoint_id}/test',
      'GET /admin/event-endpoints/{endpoint_id}/deliveries',
      'POST /admin/event-endpoints/{endpoint_id}/deliveries/replay',
      'POST /admin/events/{event_id}/replay',
      'GET /admin/alerts',
      'POST /admin/alerts/{alert_id}/acknowledge',
      'GET /healthz',
      'GET /healthz/parts',
      'GET /readyz',
      'GET /runbooks/{rule}',
      'GET /openapi.json',
      'GET /docs',
    ])
    expect(document.openapi).toBe('3.1.0')
  })

  test('every reference leads to a schema, and every schema is used', () => {
    const references = [
      ...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g),
    ]
    const used = new Set(references.map(([, name]) => name))
    expect(used).toEqual(new Set(Object.keys(document.components.schemas)))
  })

  test('generators can use it: no builtin’s name, no pattern beside a format, no body without a schema', () => {
    const builtins =
      /^(any|array|bool(ean)?|bytes|date(time)?|dict|enum|error|event|exception|float|function|int(eger)?|key|list|map|number|object|optional|promise|reason|record|request|response|set|state|status|str(ing)?|symbol|tuple|type|union|url)s?$/i
    const names = Object.keys(document.components.schemas)
    expect(names.filter((name) => builtins.test(name))).toEqual([])
    expect(JSON.stringify(document)).not.toMatch(
      /"format":"(date-time|email|uri)"[^{}]*"pattern"|"pattern":"[^"]*"[^{}]*"format":"(date-time|email|uri)"/,
    )
    for (const { path, method, operation } of operations()) {
      if (method === 'get') expect([path, operation.requestBody]).toEqual([path, undefined])
      for (const media of Object.values(operation.requestBody?.content ?? {}))
        expect([path, media]).toEqual([
          path,
          expect.objectContaining({ schema: expect.anything() }),
        ])
    }
  })

  test('operation ids are unique, and every call says what it does', () => {
    const ids = operations().map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { operation } of operations()) expect(operation.summary).not.toBe('')
  })

  test('every refusal is a problem, and what needs Postgres can say that it is down', () => {
    for (const { path, operation } of operations()) {
      for (const [status, { content }] of Object.entries(operation.responses)) {
        const isReadiness = path === '/readyz' && status === '503'
        if (Number(status) >= 400 && !isReadiness) {
          expect(Object.keys(content ?? {})).toEqual(['application/problem+json'])
        }
      }
      expect(Object.keys(operation.responses)).toEqual(
        expect.arrayContaining(['200', '405', '500']),
      )
      const needsPostgres = /^.(otp|preferences|consent|webhooks|ussd|admin|readyz)/.test(path)
      expect([path, '503' in operation.responses]).toEqual([path, needsPostgres])
    }
  })

  test('calls with a key can be refused for the key', () => {
    for (const { operation } of operations()) {
      const refused = operation.responses['403']?.description ?? ''
      const needsKey = operation.security.length > 0
      expect([refused.includes('FORBIDDEN'), refused.includes('WRONG_REGION')]).toEqual([
        needsKey,
        needsKey,
      ])
    }
  })

  test('only probes may come without encryption', () => {
    for (const { path, operation } of operations()) {
      const refused = operation.responses['403']?.description ?? ''
      const isProbe = /^.(healthz|healthz.parts|readyz|metrics)$/.test(path)
      expect([path, refused.includes('HTTPS_REQUIRED')]).toEqual([path, !isProbe])
    }
  })
})

describe('what the API answers is what the document says', () => {
  test('every answer fits its schema, and its status is listed', async () => {
    const phone = freshPhone()
    const seen: [string, number, unknown, z.ZodType][] = []
    const call = async (
      method: string,
      path: string,
      schema: z.ZodType,
      body?: unknown,
      pattern = path,
    ) => {
      const { status, body: answer } = await client.call(method, path, body)
      seen.push([`${method} ${pattern}`, status, answer, schema])
      return answer
    }
    const sent = await call('POST', '/otp/send', SendAnswer, {
      phone_number: phone,
      channel: 'sms',
    })
    const id = String(sent.request_id)
    await call('GET', '/otp/challenge', ChallengeAnswer)
    const [message] = await until(async () => {
      const inbox = await client.inbox(phone)
      return inbox.length > 0 && inbox
    })
    await call('GET', `/otp/${id}`, StatusAnswer, undefined, '/otp/{request_id}')
    await call('POST', '/otp/verify', VerifyAnswer, { phone_number: phone, code: '00000' })
    await call('POST', '/otp/verify', VerifyAnswer, { phone_number: phone, code: message?.code })
    await call('POST', '/otp/verify', VerifyAnswer, { phone_number: freshPhone(), code: '123456' })
    await call('GET', `/otp/${id}`, StatusAnswer, undefined, '/otp/{request_id}')
    await call('POST', `/otp/${id}/cancel`, ProblemBody, undefined, '/otp/{request_id}/cancel')
    const other = await client.sent(freshPhone())
    await call('POST', `/otp/${other}/resend`, CommandAnswer, undefined, '/otp/{request_id}/resend')
    await call('POST', `/otp/${other}/next`, CommandAnswer, undefined, '/otp/{request_id}/next')
    await call('POST', `/otp/${other}/cancel`, CommandAnswer, undefined, '/otp/{request_id}/cancel')
    await call('POST', '/otp/search', SearchAnswer, { limit: 1 })
    await call('PUT', '/preferences', PreferenceAnswer, { phone_number: phone, channel: 'voice' })
    await call('POST', '/preferences/lookup', PreferenceAnswer, { phone_number: phone })
    await call('POST', '/preferences/delete', DeletedAnswer, { phone_number: phone })
    await call('POST', '/otp/send', ProblemBody, { phone_number: 'x' })
    await call('GET', '/healthz', HealthAnswer)
    await call('GET', '/healthz/parts', PartsAnswer)
    await call('GET', '/readyz', ReadinessAnswer)

    for (const [name, status, answer, schema] of seen) {
      const [method = '', path = ''] = name.split(' ')
      const listed = Object.keys(document.paths[path]?.[method.toLowerCase()]?.responses ?? {})
      expect([name, listed]).toEqual([name, expect.arrayContaining([String(status)])])
      expect([name, schema.safeParse(answer).error?.issues ?? []]).toEqual([name, []])
    }
  })

  test('every example of the document works', async () => {
    for (const { method, path, operation } of operations()) {
      const example = operation.requestBody?.content['application/json']?.example
      if (!example || path.startsWith('/webhooks') || path.includes('{')) continue
      const caller = operation['x-scope'] === 'admin' ? operator : client
      const { status } = await caller.call(method.toUpperCase(), path, example)
      expect([path, status]).toEqual([path, 200])
    }
  })

  test('the page for people names every call and runs nothing', async () => {
    const response = await fetch(`${system.url}/docs`)
    const page = await response.text()
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    for (const { path, operation } of operations()) {
      expect(page).toContain(`<code>${path}</code>`)
      expect(page).toContain(`id="${operation.operationId}"`)
    }
    expect(page).not.toMatch(/<script|<link|<img/)
  })
})
