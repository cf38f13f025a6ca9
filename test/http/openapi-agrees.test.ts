import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Route } from '../../api/route'
import { createRoutes } from '../../api/routes'
import { apiDepsOf } from '../harness/api-deps'
import { clientOf } from '../harness/client'
import { type DocumentJudge, documentJudge } from '../harness/document-judge'
import {
  type JsonSchema,
  nearlyValuesOf,
  type Schemas,
  valuesOf,
} from '../harness/json-schema-arbitrary'
import fc from '../harness/properties'
import { bodyFor, pathOf } from '../harness/route-calls'
import { startSystem, type System } from '../harness/system'

interface Parameter {
  name: string
  in: string
  schema: JsonSchema & Record<string, unknown>
}
interface Document {
  paths: Record<
    string,
    Record<
      string,
      {
        parameters: Parameter[]
        requestBody?: { content: Record<string, { schema: JsonSchema }> }
      }
    >
  >
  components: { schemas: Schemas }
}

let system: System
let routes: Route[]
let document: Document
let judge: DocumentJudge

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  routes = createRoutes(apiDepsOf(system))
  document = (await (await fetch(`${system.url}/openapi.json`)).json()) as Document
  judge = documentJudge(document.components.schemas)
})
afterAll(() => system.stop())

const fits = (schema: JsonSchema, value: unknown, by = judge): boolean =>
  by(schema, value) === undefined

const bodySchemaOf = ({ path, method }: Pick<Route, 'path' | 'method'>): JsonSchema =>
  document.paths[path]?.[method]?.requestBody?.content['application/json']?.schema ?? {}
const withBodies = () =>
  routes.flatMap((route) => {
    const contract = route.body ?? route.rawSchema
    return contract ? [{ route, contract, schema: bodySchemaOf(route) }] : []
  })

/**
 * Members whose text is read: what is no address, no URL or no code only reading it shows, and no schema says. Lengths
 * and types of these the schemas say too.
 */
const words = ['Shop', '', 'x'.repeat(31), 'x'.repeat(120)]
const read: ReadonlyMap<string, string[]> = new Map(
  Object.entries({
    ip_address: ['203.0.113.7', '2001:db8::7'],
    url: ['https://shop.example/otp', `https://shop.example/${'x'.repeat(500)}`],
    code: ['482910', '123', 'x'.repeat(101)],
    name: words,
    brand: words,
    note: words,
    description: words,
    text: words,
    subject: words,
    html: words,
    key_prompt: words,
    text_version: words,
    source: words,
    message: ['Code: {{code}}', 'Code: 1234', `{{code}}${'x'.repeat(500)}`],
    // Gateways write times in ways of their own, and most are understood.
    timestamp: ['2026-11-23T05:00:00Z'],
  }),
)

/** Whether one of those members has a text that is none of its samples. */
const isUnread = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  Object.entries(value).some(
    ([name, member]: [string, unknown]) =>
      (typeof member === 'string' && read.get(name)?.includes(member) === false) ||
      isUnread(member),
  )

/** Schemas to draw from, in which those members have their samples, and without rules: what breaks them is drawn too. */
function drawn<T>(value: T): T {
  if (Array.isArray(value)) return value.map(drawn) as T
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([name, member]: [string, unknown]) => {
    if (name === 'then') return [name, {}] as const
    if (name !== 'properties') return [name, drawn(member)] as const
    const properties = Object.entries(member as Record<string, JsonSchema>).map(
      ([property, schema]) => [property, drawnMember(property, schema)] as const,
    )
    return [name, Object.fromEntries(properties)] as const
  })
  return Object.fromEntries(members) as T
}

function drawnMember(name: string, schema: JsonSchema): JsonSchema {
  const samples = read.get(name)
  return samples ? { enum: samples } : drawn(schema)
}

/** Bodies of one operation on which document and server differ, the smallest first. */
function differences(
  { schema, contract }: Pick<ReturnType<typeof withBodies>[number], 'schema' | 'contract'>,
  by: DocumentJudge,
  schemas: Schemas,
): unknown[] {
  const from = drawn(schemas)
  const bodies = fc.oneof(
    { arbitrary: valuesOf(schema, from), weight: 3 },
    { arbitrary: nearlyValuesOf(schema, from), weight: 1 },
  )
  const property = fc.property(bodies, (body) => {
    const sent: unknown = JSON.parse(JSON.stringify(body))
    fc.pre(!isUnread(sent))
    return fits(schema, sent, by) === contract.safeParse(sent).success
  })
  return fc.check(property, { numRuns: 1_500 }).counterexample ?? []
}

describe('what the document says of a body is what the server checks', () => {
  test('both take it or both refuse it, whatever is drawn', () => {
    const found = withBodies().map((one) => [
      one.route.operationId,
      differences(one, judge, document.components.schemas),
    ])
    expect(found.length).toBeGreaterThan(20)
    expect(found.filter(([, bodies]) => bodies?.length)).toEqual([])
  })

  test('a document without its rules is found out', () => {
    const without = JSON.parse(
      JSON.stringify(document.components.schemas, (name, value: unknown) =>
        name === 'then' ? {} : value,
      ),
    ) as Schemas
    const laxer = documentJudge(without)
    const found = withBodies()
      .filter((one) => differences(one, laxer, without).length > 0)
      .map(({ route }) => route.operationId)
    expect(found).toEqual(
      expect.arrayContaining([
        'sendOtp',
        'verifyOtp',
        'searchOtp',
        'putPreference',
        'lookUpPreference',
        'deletePreference',
        'withdrawConsent',
        'createApp',
        'createKey',
        'unlockRecipient',
        'eraseRecipient',
        'raiseBlock',
        'createEventEndpoint',
      ]),
    )
  })

  test.each([
    ['sendOtp', { phone_number: '+233241234567' }, true],
    ['sendOtp', { email: 'ama@example.com' }, true],
    ['sendOtp', {}, false],
    ['sendOtp', { phone_number: '+233241234567', email: 'ama@example.com' }, false],
    ['sendOtp', { email: '' }, false],
    ['sendOtp', { phone_number: '+233241234567', channels: ['sms', 'sms'] }, false],
    ['sendOtp', { phone_number: '+233241234567', channel: 'email' }, false],
    ['sendOtp', { email: 'ama@example.com', channels: ['email', 'sms'] }, false],
    ['sendOtp', { phone_number: '+233241234567', colour: 'red' }, false],
    ['verifyOtp', { request_id: 'otp_aaaaaaaaaaaaaaaaaaaaaaaaaa', code: '482910' }, true],
    ['verifyOtp', { code: '482910' }, false],
    ['verifyOtp', { request_id: 'otp_a', phone_number: '+233241234567', code: '482910' }, false],
    ['searchOtp', {}, true],
    ['searchOtp', { phone_number: '+233241234567', email: 'ama@example.com' }, false],
    ['raiseBlock', { environment: 'staging', scope: 'country', country: 'NZ' }, true],
    ['raiseBlock', { environment: 'staging', scope: 'country', prefix: '+23324' }, false],
    ['raiseBlock', { environment: 'staging', scope: 'app', country: 'NZ' }, false],
    ['raiseBlock', { environment: 'staging', scope: 'range' }, false],
    ['createKey', { environment: 'staging', scopes: ['send'], expires_in_days: 1 }, true],
    [
      'createKey',
      {
        environment: 'staging',
        scopes: ['send'],
        expires_in_days: 1,
        expires_at: '2027-01-01T00:00:00Z',
      },
      false,
    ],
    ['createKey', { environment: 'staging', scopes: ['read'], publishable: true }, false],
    ['createKey', { environment: 'staging', scopes: ['send'], app_id: null }, false],
    ['createKey', { environment: 'staging', scopes: ['admin'], app_id: null }, true],
    ['createApp', { app_id: 'shop', name: 'x'.repeat(31) }, false],
    ['createApp', { app_id: 'shop', name: 'Shop', default_country: 'XX' }, false],
  ])('%s with %j: %s', (operationId, body, isTaken) => {
    const one = withBodies().find(({ route }) => route.operationId === operationId)
    expect([one && fits(one.schema, body), one?.contract.safeParse(body).success]).toEqual([
      isTaken,
      isTaken,
    ])
  })
})

test('a body that breaks a rule is refused with the code of the rule and the member', async () => {
  const client = clientOf(system)
  const refused = async (body: object) => {
    const answer = await client.call('POST', '/otp/send', body)
    return [answer.status, answer.body.error_code, answer.body.detail]
  }
  expect(await refused({})).toEqual([
    400,
    'INVALID_REQUEST',
    'The body: give exactly one of phone_number and email.',
  ])
  expect((await refused({ email: '' })).slice(0, 2)).toEqual([400, 'INVALID_EMAIL'])
  expect((await refused({ phone_number: '12' })).slice(0, 2)).toEqual([400, 'INVALID_NUMBER'])
  const phone_number = '+233241234567'
  expect((await refused({ phone_number, expiry_seconds: 29 })).slice(0, 2)).toEqual([
    400,
    'INVALID_EXPIRY',
  ])
  expect((await refused({ phone_number, message: 'no code' })).slice(0, 2)).toEqual([
    400,
    'INVALID_MESSAGE',
  ])
  // Something else is wrong too: the code that stands for both.
  expect((await refused({ email: '', channels: [] })).slice(0, 2)).toEqual([400, 'INVALID_REQUEST'])
  // What is null is not there.
  expect((await refused({ phone_number: '12', email: null })).slice(0, 2)).toEqual([
    400,
    'INVALID_NUMBER',
  ])
})

describe('parts of paths', () => {
  test.each([
    ['pigeon', 'fr', false],
    ['sms', 'f', false],
    ['sms', '12', false],
    ['sms', 'english', false],
    ['sms', 'fr', true],
    ['sms', 'fr-CI', true],
    ['sms', 'zh_CN_%23Hans', true],
  ])('of a template: %s and %s', async (channel, locale, isTaken) => {
    const path = '/admin/apps/{app_id}/templates/{channel}/{locale}'
    const given: Record<string, string> = { app_id: 'app', channel, locale }
    const parameters = document.paths[path]?.put?.parameters.filter(
      ({ in: where }) => where === 'path',
    )
    const isDescribed = parameters?.every(({ name, schema }) =>
      fits(schema, decodeURIComponent(given[name] ?? '')),
    )
    const { status } = await clientOf(system, system.operatorKey).call(
      'PUT',
      path.replace(/\{(\w+)\}/g, (_, name: string) => given[name] ?? ''),
      { text: 'Code: {{code}}' },
    )
    expect([isDescribed, status]).toEqual([isTaken, isTaken ? 200 : 400])
  })

  test('ids have the pattern of those that are made', () => {
    for (const { path, method } of routes)
      for (const { name, in: where, schema } of document.paths[path]?.[method]?.parameters ?? [])
        if (where === 'path' && name.endsWith('_id'))
          expect([path, schema.pattern]).toEqual([path, expect.stringMatching(/^\^.*\$$/)])
  })
})

test('what an operator’s key must name is marked, and nothing else', async () => {
  const said: unknown[] = []
  const observed: unknown[] = []
  for (const route of routes.filter(({ scope }) => scope === 'admin')) {
    const { path, method, operationId } = route
    const reference = bodySchemaOf(route).$ref?.replace('#/components/schemas/', '')
    const body = reference === undefined ? {} : (document.components.schemas[reference] ?? {})
    const inQuery = document.paths[path]?.[method]?.parameters.find(
      ({ name, in: where }) => where === 'query' && name === 'app_id',
    )?.schema
    const member = inQuery ?? body.properties?.app_id
    if (member === undefined || body.required?.includes('app_id')) continue
    const { app_id: _, ...others } = bodyFor(route) as Record<string, unknown>
    const answer = await fetch(system.url + pathOf(route, {}), {
      method: method.toUpperCase(),
      headers: {
        authorization: `Bearer ${system.operatorKey}`,
        'content-type': 'application/json',
      },
      ...(route.body && { body: JSON.stringify(others) }),
    })
    // One call answers with lines of JSON.
    const isRequired = /"errors":\[\{"field":"app_id","message":"required"\}\]/
    said.push([operationId, 'x-required-with' in member])
    observed.push([operationId, isRequired.test(await answer.text())])
  }
  expect(said.length).toBeGreaterThan(10)
  expect(said).toEqual(observed)
})
