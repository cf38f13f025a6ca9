import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { errorsOf, type Route, scopes } from '../../api/route'
import { createRoutes } from '../../api/routes'
import type { ErrorCode } from '../../core/error-code'
import { type Environment, environments, isLive } from '../../core/requests/state'
import { raiseByHand } from '../../db/protection/blocks-by-hand'
import { createApiKey } from '../../db/apps/api-keys'
import { apiDepsOf } from '../harness/api-deps'
import { openAlertOf } from '../harness/app-hours'
import { clientOf, freshPhone } from '../harness/client'
import { bodies, bodyFor, endpoint, pathOf, unknownFields } from '../harness/route-calls'
import { startSystem, type System } from '../harness/system'

let system: System
let routes: Route[]

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  routes = createRoutes(apiDepsOf(system))
})
afterAll(() => system.stop())

const keyOf = async (
  keyScopes: string[],
  { appId = 'app', ...given }: Partial<Parameters<typeof createApiKey>[1]> = {},
) => createApiKey(system.db, { appId, environment: 'staging', scopes: keyScopes, ...given })

type Calling = { ids?: Record<string, string>; query?: string; body?: object }

interface Called {
  status: number
  code: ErrorCode | undefined
  detail: unknown
}

async function call(
  route: Route,
  key: string | undefined,
  { ids = {}, query = '', body = {} }: Calling = {},
): Promise<Called> {
  const response = await fetch(`${system.url}${pathOf(route, ids)}${query}`, {
    method: route.method.toUpperCase(),
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      'content-type': 'application/json',
    },
    ...(route.method !== 'get' && { body: JSON.stringify(body) }),
  })
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json')
  const text = await response.text()
  const problem = isProblem
    ? (JSON.parse(text) as { error_code: ErrorCode; detail: string })
    : undefined
  // A fault is no answer about a key.
  expect([route.path, response.status < 500]).toEqual([route.path, true])
  // Whatever is tried here, the document names the answer.
  const isDescribed = problem
    ? errorsOf(route).includes(problem.error_code)
    : response.status in route.replies
  const said = [route.path, problem?.error_code ?? response.status]
  expect([...said, isDescribed]).toEqual([...said, true])
  return { status: response.status, code: problem?.error_code, detail: problem?.detail }
}

const operatorsOnly = 'This takes an operator’s key.'
type Verdict = 'passes' | 'UNAUTHENTICATED' | 'FORBIDDEN'

/** What the check of keys said: whatever comes later (no such id, an empty body) means that it let the call pass. */
const verdictOf = ({ code, detail }: Called): Verdict =>
  code === 'UNAUTHENTICATED' || (code === 'FORBIDDEN' && detail !== operatorsOnly) ? code : 'passes'

const hasScope = ({ scope, orScope }: Pick<Route, 'scope' | 'orScope'>, list: string[]) =>
  [scope, orScope].some((enough) => enough && list.includes(enough))

interface Kind {
  key: string | undefined
  verdict: (route: Route & { scope: NonNullable<Route['scope']> }) => Verdict
}

/** What reaches every environment of an app at once: its settings, its recipients, its trail. */
const liveOnly = [
  'patch /admin/apps/{app_id}',
  'delete /admin/apps/{app_id}/templates/{channel}/{locale}',
  'post /admin/erasures',
  'get /admin/lists',
  'delete /admin/lists/{entry_id}',
  'get /admin/test-numbers',
  'delete /admin/test-numbers/{test_number_id}',
  'get /admin/audit',
  'delete /admin/pre-send-hook',
  'post /admin/pre-send-hook/rotate-secret',
]

async function kinds(): Promise<Record<string, Kind>> {
  const [expired, revoked] = await Promise.all([keyOf([...scopes]), keyOf([...scopes])])
  await system.db.many(sql`update api_keys set expires_at = now() where id = ${expired.id}`)
  await system.db.many(sql`update api_keys set revoked_at = now() where id = ${revoked.id}`)
  // Its id and checksum are right, its secret is not what was stored.
  const forged = await keyOf([...scopes])
  await system.db.many(sql`update api_keys set digest = sha256('other') where id = ${forged.id}`)
  const dead = (key: string | undefined): Kind => ({ key, verdict: () => 'UNAUTHENTICATED' })
  const found: Record<string, Kind> = {
    expired: dead(expired.key),
    revoked: dead(revoked.key),
    'no key': dead(undefined),
    'a wrong secret': dead(forged.key),
    operator: {
      key: system.operatorKey,
      verdict: ({ scope }) => (scope === 'admin' ? 'passes' : 'FORBIDDEN'),
    },
  }
  for (const environment of environments) {
    for (const scope of scopes) {
      const { key } = await keyOf([scope], { environment })
      found[`secret, ${environment}, ${scope}`] = {
        key,
        verdict: (route) =>
          hasScope(route, [scope]) &&
          (isLive(environment) || !liveOnly.includes(`${route.method} ${route.path}`))
            ? 'passes'
            : 'FORBIDDEN',
      }
    }
  }
  for (const list of [['send'], ['verify'], ['send', 'verify']]) {
    const { key } = await keyOf(list, { publishable: true })
    found[`publishable, ${list.join(' and ')}`] = {
      key,
      verdict: (route) => (route.publishable && hasScope(route, list) ? 'passes' : 'FORBIDDEN'),
    }
  }
  return found
}

test('every route lets every kind of key pass or not, as its scope says', async () => {
  const observed: string[] = []
  const expected: string[] = []
  for (const [kind, { key, verdict }] of Object.entries(await kinds())) {
    for (const route of routes) {
      const name = `${kind}: ${route.method} ${route.path}`
      const { scope } = route
      // It looks at the key after its body, which has to name somebody.
      const body = route.path === '/admin/erasures' ? bodyFor(route) : {}
      observed.push(`${name}: ${verdictOf(await call(route, key, { body }))}`)
      expected.push(`${name}: ${scope === null ? 'passes' : verdict({ ...route, scope })}`)
    }
  }
  expect(observed).toEqual(expected)
  expect(expected.filter((line) => line.endsWith('passes')).length).toBeGreaterThan(20)
})

test('what a query or a body names and nobody knows leads to an answer that is described', async () => {
  const byApp = (await keyOf([...scopes], { environment: 'production' })).key
  const answered = new Map<string, Set<unknown>>()
  for (const route of routes) {
    const tries = [
      ...unknownFields(route.query).map((fields) => ({
        query: `?${new URLSearchParams(fields).toString()}`,
        body: bodyFor(route),
      })),
      ...unknownFields(route.body).map((fields) => ({ body: { ...bodyFor(route), ...fields } })),
    ]
    for (const tried of tries)
      for (const key of [system.operatorKey, byApp]) {
        // Its own check: the answer is one of those that the document lists.
        const { code, status } = await call(route, key, tried)
        const seen = answered.get(route.operationId) ?? new Set()
        answered.set(route.operationId, seen.add(code ?? status))
      }
  }
  const notFound = [...answered].filter(([, codes]) => codes.has('NOT_FOUND')).map(([id]) => id)
  expect(notFound).toEqual(
    expect.arrayContaining(['listBudgets', 'listAlerts', 'createKey', 'createEventEndpoint']),
  )
})

test('what needs no key, what a page’s key may call and what administers is a short list', () => {
  const named = (which: (route: Route) => boolean) =>
    routes.filter(which).map(({ method, path }) => `${method} ${path}`)
  for (const path of named(({ scope }) => scope === null))
    expect(path).toMatch(
      /^((post|get) \/webhooks\/|post \/ussd\/|get \/(healthz|healthz\/parts|readyz|metrics|openapi\.json|docs|runbooks\/\{rule\})$)/,
    )
  expect(named(({ publishable }) => publishable === true)).toEqual([
    'post /otp/send',
    'get /otp/challenge',
    'post /otp/verify',
  ])
  // Whoever may only check codes is told to solve a challenge too.
  expect(named(({ orScope }) => orScope !== undefined)).toEqual(['get /otp/challenge'])
  expect(named(({ scope }) => scope === 'admin')).toEqual(
    named(({ path }) => path.startsWith('/admin/')),
  )
})

/** A standing block of the app. */
async function blockOf(environment: Environment): Promise<string> {
  const place = { scope: 'country', place: 'NZ', asks: 'block', actor: 'test' } as const
  return (await raiseByHand(system.db, { appId: 'app', environment, ...place })).id
}

/** Something of the app `app` for every placeholder that names something of an app. */
async function realIds(): Promise<Record<string, string>> {
  const operator = clientOf(system, system.operatorKey)
  const { status, body } = await operator.call<{ endpoint_id: string }>(
    'POST',
    '/admin/event-endpoints',
    { ...endpoint, app_id: 'app' },
  )
  expect([status, body]).toMatchObject([200, {}])
  const requestId = await clientOf(system).sent(freshPhone())
  const eventOf = sql`select id from events where request_id = ${requestId}`
  const event = await system.db.one<{ id: string }>(eventOf)
  return {
    request_id: requestId,
    app_id: 'app',
    key_id: (await keyOf(['send'])).id,
    endpoint_id: body.endpoint_id,
    event_id: event?.id ?? '',
    alert_id: await openAlertOf(system.db, 'staging'),
    block_id: await blockOf('staging'),
  }
}

test('an app’s test key changes nothing that is about production', async () => {
  const operator = clientOf(system, system.operatorKey)
  const made = async (path: string, body?: object) =>
    (await operator.call<Record<string, string>>('POST', path, body)).body
  const own = { app_id: 'app', environment: 'production' }
  const { endpoint_id = '' } = await made('/admin/event-endpoints', { ...endpoint, ...own })
  const { event_id = '' } = await made(`/admin/event-endpoints/${endpoint_id}/test`)
  const { key_id = '' } = await made('/admin/keys', { ...own, name: '', scopes: ['send'] })
  const alert_id = await openAlertOf(system.db, 'production')
  const block_id = await blockOf('production')
  const ids = { app_id: 'app', endpoint_id, event_id, key_id, alert_id, block_id }
  const changing = routes.filter(
    ({ scope, method, path }) =>
      scope === 'admin' &&
      method !== 'get' &&
      path !== '/admin/recipients/unlock' &&
      !path.endsWith('/preview'),
  )
  expect(changing.length).toBeGreaterThan(10)
  for (const environment of environments) {
    const { key } = await keyOf(['admin'], { environment })
    for (const route of changing) {
      const example = bodyFor(route)
      const body =
        'environment' in example
          ? { ...example, ...own }
          : 'app_id' in example && route.path !== '/admin/apps'
            ? { ...example, app_id: 'app' }
            : example
      const name = `${environment}: ${route.method} ${route.path}`
      if (!isLive(environment))
        expect([name, await call(route, key, { ids, body })]).toMatchObject([
          name,
          { code: 'FORBIDDEN' },
        ])
      // The live key may: so it was not the body that was refused. What removes something is left out.
      else if (route.path !== '/admin/apps' && route.method !== 'delete')
        expect([name, await call(route, key, { ids, body })]).not.toMatchObject([
          name,
          { code: 'FORBIDDEN' },
        ])
    }
  }
})

describe('another app', () => {
  test('’s ids are unknown: 404 on every route that names one', async () => {
    const ids = await realIds()
    const { key: theirs } = await keyOf([...scopes], { appId: 'other' })
    const { key: own } = await keyOf([...scopes])
    const named = routes.filter(
      ({ scope, path }) =>
        scope !== null && Object.keys(ids).some((id) => path.includes(`{${id}}`)),
    )
    for (const route of named) {
      const name = `${route.method} ${route.path}`
      const given = { ids, body: bodyFor(route) }
      expect([name, await call(route, theirs, given)]).toMatchObject([name, { code: 'NOT_FOUND' }])
      expect([
        name,
        await call(route, theirs, { body: given.body, ids: { app_id: 'nobody' } }),
      ]).toEqual([name, await call(route, theirs, given)])
    }
    // Their owner finds them: so it is not that the ids are wrong.
    const deletesLast = [...named].sort((one, next) => one.method.length - next.method.length)
    for (const route of deletesLast) {
      const name = `${route.method} ${route.path}`
      const answer = await call(route, own, { ids, body: bodyFor(route) })
      expect([name, answer.code]).not.toEqual([name, 'NOT_FOUND'])
    }
  })

  test('’s id as app_id is unknown to an app’s key, and read by an operator’s', async () => {
    const { key: theirs } = await keyOf([...scopes], { appId: 'other' })
    const naming = (schema: z.ZodType | undefined) =>
      schema !== undefined &&
      'app_id' in ((z.toJSONSchema(schema, { io: 'input' }).properties ?? {}) as object)
    const inBody = routes.filter(({ body, path }) => naming(body) && path !== '/admin/apps')
    const operator = clientOf(system, system.operatorKey)
    const hook = await operator.call('PUT', '/admin/pre-send-hook', bodies.putPreSendHook)
    expect(hook.status).toBe(200)
    const inQuery = routes.filter(({ query }) => naming(query))
    for (const route of inBody) {
      const body = { ...bodyFor(route), app_id: 'app' }
      const refused = await call(route, theirs, { body })
      expect([route.path, refused]).toMatchObject([route.path, { code: 'NOT_FOUND' }])
    }
    const query = '?app_id=app'
    for (const route of inQuery) {
      const refused = await call(route, theirs, { query })
      expect([route.path, refused]).toMatchObject([route.path, { code: 'NOT_FOUND' }])
      const read = await call(route, system.operatorKey, { query })
      expect([route.path, read]).toMatchObject([route.path, { status: 200 }])
    }
    expect([inBody.length, inQuery.length]).not.toContain(0)
  })

  test('’s request is to a check as one that never was', async () => {
    const requestId = await clientOf(system).sent(freshPhone())
    const theirs = clientOf(system, system.otherKey)
    const check = async (id: string) =>
      (await theirs.verify({ request_id: id, code: '123456' })).body
    expect(await check(requestId)).toEqual(await check('otp_aaaaaaaaaaaaaaaaaaaaaaaaaa'))
    expect((await clientOf(system).status(requestId)).checks.used).toBe(0)
  })
})
