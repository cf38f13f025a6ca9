import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import express from 'express'
import { createServer } from 'node:http'
import pino from 'pino'
import { z } from 'zod'
import { createAdmission } from '../../api/admission'
import { createPeers } from '../../api/client-address'
import { ProblemBody } from '../../api/contract/common'
import { answerProblem, mountRoutes } from '../../api/mount'
import { openApiDocument } from '../../api/openapi'
import { route } from '../../api/route'
import { createHttpServer } from '../../api/server'
import { errorCodes, type ErrorCode } from '../../core/error-code'
import { closeServer, listen } from '../harness/listening'
import { canary } from '../harness/refusal'
import { rawExchange } from '../harness/raw-http'
import { startSystem, type System } from '../harness/system'
import type { RequestListener, Server } from 'node:http'

let system: System
let server: Server
let url: string
let port: number

interface Operation {
  security: unknown[]
  requestBody?: { required?: boolean; content: Record<string, unknown> }
  parameters: { name: string; in: string }[]
}
let operations: { method: string; path: string; operation: Operation }[]

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  server = createHttpServer(system.makeApi())
  url = await listen(server)
  port = Number(new URL(url).port)
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, Operation>>
  }
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path: path
        .replace('{request_id}', 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa')
        .replace(/\{\w+\}/g, 'x1'),
      operation,
    })),
  )
})
afterAll(async () => {
  await closeServer(server)
  await system.stop()
})

/** What must be true of every refusal, whoever makes it. */
function problemIn({ status, headers, body }: Awaited<ReturnType<typeof rawExchange>>): ErrorCode {
  const problem = ProblemBody.parse(JSON.parse(body))
  expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
  expect(headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'x-trace-id': problem.trace_id,
  })
  expect(problem.type).toBe(
    `urn:otpilot:problem:${problem.error_code.toLowerCase().replaceAll('_', '-')}`,
  )
  expect(problem.status).toBe(status)
  expect(errorCodes[problem.error_code][0]).toBe(status)
  expect(body).not.toContain(canary)
  expect(body).not.toMatch(/\n\s+at |node_modules/)
  return problem.error_code
}

describe('requests that are hardly HTTP', () => {
  const host = 'Host: otp.example.com\r\nConnection: close\r\n'
  const cases: [string, string, ErrorCode][] = [
    ['no Host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 'INVALID_REQUEST'],
    ['two Hosts', `GET /healthz HTTP/1.1\r\n${host}Host: ${canary}\r\n\r\n`, 'INVALID_REQUEST'],
    [
      'an expectation',
      `POST /otp/send HTTP/1.1\r\n${host}Expect: ${canary}\r\n\r\n`,
      'INVALID_REQUEST',
    ],
    ['TRACE', `TRACE /otp/send HTTP/1.1\r\n${host}X-Key: ${canary}\r\n\r\n`, 'METHOD_NOT_ALLOWED'],
    ['TRACE of the root', `TRACE / HTTP/1.1\r\n${host}\r\n`, 'NOT_FOUND'],
    ['CONNECT', `CONNECT ${canary}.example:443 HTTP/1.1\r\n${host}\r\n`, 'METHOD_NOT_ALLOWED'],
    ['OPTIONS of what is not there', `OPTIONS /${canary} HTTP/1.1\r\n${host}\r\n`, 'NOT_FOUND'],
    ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${host}\r\n`, 'NOT_FOUND'],
    ['a method nobody knows', `BREW /otp/send HTTP/1.1\r\n${host}\r\n`, 'INVALID_REQUEST'],
    ['a method of WebDAV', `PROPFIND /otp/send HTTP/1.1\r\n${host}\r\n`, 'METHOD_NOT_ALLOWED'],
    ['no version', `GET /${canary}\r\n\r\n`, 'INVALID_REQUEST'],
    ['HTTP/2 in the clear', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'INVALID_REQUEST'],
    ['TLS in the clear', '\u0016\u0003\u0001\u0002\0\u0001\0', 'INVALID_REQUEST'],
    [
      'a header without a colon',
      `GET /healthz HTTP/1.1\r\n${host}${canary}\r\n\r\n`,
      'INVALID_REQUEST',
    ],
    [
      'a blank before the colon',
      `GET /healthz HTTP/1.1\r\n${host}X : 1\r\n\r\n`,
      'INVALID_REQUEST',
    ],
    [
      'two lengths',
      `POST /otp/send HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`,
      'INVALID_REQUEST',
    ],
    [
      'a length and chunks',
      `POST /otp/send HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      'INVALID_REQUEST',
    ],
    [
      'another encoding behind chunks',
      `POST /otp/send HTTP/1.1\r\n${host}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
      'INVALID_REQUEST',
    ],
    [
      'a length that is none',
      `POST /otp/send HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`,
      'INVALID_REQUEST',
    ],
    [
      'large headers',
      `GET /healthz HTTP/1.1\r\n${host}X: ${'x'.repeat(20_000)}\r\n\r\n`,
      'HEADERS_TOO_LARGE',
    ],
    ['a long address', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`, 'HEADERS_TOO_LARGE'],
    ['a NUL in the address', `GET /%00 HTTP/1.1\r\n${host}\r\n`, 'NOT_FOUND'],
    ['another host’s address', `GET http://${canary}/nothing HTTP/1.1\r\n${host}\r\n`, 'NOT_FOUND'],
    ['a way out of the folder', `GET /docs/../../etc/passwd HTTP/1.1\r\n${host}\r\n`, 'NOT_FOUND'],
  ]
  test.each(cases)('%s', async (_name, bytes, code) => {
    expect(problemIn(await rawExchange(port, bytes))).toBe(code)
  })

  test('what goes without saying is taken', async () => {
    const old = await rawExchange(port, 'GET /healthz HTTP/1.0\r\n\r\n')
    const absolute = await rawExchange(port, `GET http://x/healthz HTTP/1.1\r\n${host}\r\n`)
    const expecting = await rawExchange(
      port,
      `POST /otp/search HTTP/1.1\r\n${host}Authorization: Bearer ${system.key}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}`,
    )
    expect([old.status, absolute.status]).toEqual([200, 200])
    expect(expecting.status).toBe(100)
    expect(expecting.body).toMatch(/^HTTP\/1\.1 200 /)
  })
})

describe('every call of the document', () => {
  const send = (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
  ) => fetch(url + path, { method, headers, ...(body !== undefined && { body }) })
  const authorization = () => ({ authorization: `Bearer ${system.key}` })
  const codeOf = async (response: Response) => ProblemBody.parse(await response.json()).error_code

  test('carries the same safe headers, refused or not', async () => {
    const varying = [
      'date',
      'connection',
      'keep-alive',
      'x-trace-id',
      'content-length',
      'content-type',
      'www-authenticate',
      'transfer-encoding',
    ]
    const pages = ['/otp/send', '/otp/verify', '/otp/challenge']
    const page = "default-src 'none';frame-ancestors 'none'"
    for (const { method, path } of operations) {
      const { headers } = await send(method, path)
      const seen = Object.fromEntries([...headers].filter(([name]) => !varying.includes(name)))
      expect([path, seen]).toEqual([
        path,
        {
          'cache-control': 'no-store',
          'content-security-policy': path === '/docs' ? seen['content-security-policy'] : page,
          'cross-origin-opener-policy': 'same-origin',
          'cross-origin-resource-policy': 'same-origin',
          'origin-agent-cluster': '?1',
          'referrer-policy': 'no-referrer',
          'x-content-type-options': 'nosniff',
          'x-dns-prefetch-control': 'off',
          'x-download-options': 'noopen',
          'x-frame-options': 'DENY',
          'x-permitted-cross-domain-policies': 'none',
          'x-xss-protection': '0',
          // Only what publishable keys may call is for pages.
          ...(pages.includes(path) && {
            'access-control-allow-origin': '*',
            'access-control-expose-headers': 'Retry-After, X-Trace-Id',
          }),
        },
      ])
      expect(headers.get('x-trace-id')).toMatch(/^[0-9a-f]{32}$/)
    }
  })

  test('takes its key from the header alone', async () => {
    for (const { method, path, operation } of operations) {
      if (operation.security.length === 0) continue
      const inQuery = await send(method, `${path}?key=${system.key}&access_token=${system.key}`)
      const inCookie = await send(method, path, {
        cookie: `key=${system.key}`,
        'x-api-key': system.key,
      })
      expect([path, inQuery.status, inCookie.status]).toEqual([path, 401, 401])
    }
  })

  test('does not answer TRACE, nor any method that it does not name', async () => {
    for (const { path } of operations) {
      const traced = await rawExchange(
        port,
        `TRACE ${path} HTTP/1.1\r\nHost: x\r\nX-Echo: ${canary}\r\nConnection: close\r\n\r\n`,
      )
      expect([path, problemIn(traced)]).toEqual([path, 'METHOD_NOT_ALLOWED'])
      expect(traced.headers.allow).toMatch(/OPTIONS$/)
    }
  })

  test('refuses a body that is missing, empty, of another type or compressed', async () => {
    const keyed = operations.filter(
      ({ operation }) => operation.security.length > 0 && operation.requestBody,
    )
    expect(keyed.length).toBeGreaterThan(5)
    for (const { method, path, operation } of keyed) {
      const key = path.startsWith('/admin') ? system.operatorKey : system.key
      const headers = { authorization: `Bearer ${key}` }
      const json = { ...headers, 'content-type': 'application/json' }
      const answers = [
        await send(method, path, headers, '{}'),
        await send(method, path, { ...headers, 'content-type': 'text/plain' }, '{}'),
        await send(method, path, { ...json, 'content-encoding': 'gzip' }, '{}'),
        ...(operation.requestBody?.required ? [await send(method, path, headers)] : []),
      ]
      for (const answer of answers)
        expect([path, await codeOf(answer)]).toEqual([path, 'UNSUPPORTED_MEDIA_TYPE'])
      if (operation.requestBody?.required)
        expect([path, await codeOf(await send(method, path, json))]).toEqual([
          path,
          'INVALID_REQUEST',
        ])
    }
  })

  test('refuses a query field twice or with brackets', async () => {
    const id = 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa'
    for (const query of ['wait=1&wait=2', 'wait[b]=1', 'wait[]=1', '__proto__=1', 'a=1&a=2', '=']) {
      const answer = await send('GET', `/otp/${id}?${query}`, authorization())
      expect([query, await codeOf(answer)]).toEqual([query, 'INVALID_REQUEST'])
    }
    // Calls without query fields overlook them all, as the web does.
    for (const query of ['a=1&a=2', 'a[b]=1', '%', '__proto__[x]=1'])
      expect((await send('GET', `/healthz?${query}`)).status).toBe(200)
  })
})

test('a call on its way out says so, in answers, refusals and the document', async () => {
  const retiring = route({
    method: 'get',
    path: '/old',
    operationId: 'old',
    tag: 'Old',
    summary: 'An old call',
    scope: null,
    retirement: { deprecated: '2026-11-23', sunset: '2027-05-31' },
    query: z.strictObject({}),
    replies: { 200: { description: 'Still there.' } },
    handle: async () => ({ body: {} }),
  })
  const app = express()
  const logger = pino({ level: 'silent' })
  mountRoutes(app, [retiring], {
    authenticate: () => Promise.reject(new Error('No key is asked for.')),
    peers: createPeers(undefined),
    admission: createAdmission(),
    limitAddress: () => Promise.resolve(),
    takeQuota: () => Promise.resolve({}),
    sendsPerMinute: () => undefined,
    logger,
    poolIsFull: () => false,
  })
  app.use(answerProblem({ logger, poolIsFull: () => false }))
  const old = createServer(app as RequestListener)
  const base = await listen(old)
  for (const [path, status] of [
    ['/old', 200],
    ['/old?x=1', 400],
  ] as const) {
    const answer = await fetch(base + path)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('sunset')).toBe('Mon, 31 May 2027 00:00:00 GMT')
    expect(answer.headers.get('deprecation')).toBe('@1795392000')
  }
  await closeServer(old)
  const { paths } = openApiDocument([retiring], base)
  expect(paths['/old']?.get).toMatchObject({
    deprecated: true,
    responses: {
      200: { headers: { Sunset: {}, Deprecation: {} } },
      400: { headers: { Sunset: {} } },
    },
  })
  expect(paths['/old']?.get?.responses).not.toHaveProperty('308')
  const { paths: redirected } = openApiDocument([retiring], base, { redirects: true })
  expect(redirected['/old']?.get?.responses).toHaveProperty('308.headers.Location')
})
