import fc from './properties'
import { request } from 'undici'
import { documentJudge } from './document-judge'
import { type JsonSchema, nearlyValuesOf, type Schemas, valuesOf } from './json-schema-arbitrary'

interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  schema: JsonSchema
}
interface Media {
  schema?: JsonSchema
  example?: unknown
}
export interface Operation {
  operationId: string
  parameters: Parameter[]
  security: unknown[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { headers?: Record<string, unknown>; content?: Record<string, Media> }>
}
export interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Schemas }
}
export interface Target {
  method: string
  path: string
  operation: Operation
}

export const targetsOf = (document: Document): Target[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
    })),
  )

export interface Call {
  path: string
  headers: Record<string, string>
  body?: Buffer
}
export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

/** What a header can carry; undici refuses the rest before it is sent. */
const sendable = (text: string) => text.replace(/[^\x20-\x7e\xa0-\xff]/g, '').trim()
const headerText = fc.string({ unit: 'binary' }).map(sendable)
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom(
    '',
    '0',
    '-1',
    '..',
    '%',
    '%00',
    'null',
    'true',
    '[object Object]',
    'x'.repeat(3_000),
  ),
)
const wellFormed = (text: string) => encodeURIComponent(text.toWellFormed())

/** Calls of one operation, made from the document alone and from ids that were seen in answers. */
export function callsOf(
  { path, operation }: Target,
  { schemas, keys, ids }: { schemas: Schemas; keys: string[]; ids: Map<string, string[]> },
): fc.Arbitrary<Call> {
  const seen = (name: string) =>
    fc.nat().map((n) => {
      const known = ids.get(name) ?? []
      return known.length > 0 ? String(known[n % known.length]) : 'none'
    })
  const parameter = ({ name, schema, in: where }: Parameter): fc.Arbitrary<string | undefined> => {
    // A fuzzer that waits a minute for news finds as much as one that waits a second.
    const values = name === 'wait' ? fc.constant('1') : valuesOf(schema, schemas).map(String)
    const junk = where === 'header' ? headerText : anyText
    return where === 'path'
      ? fc.oneof({ arbitrary: seen(name), weight: 3 }, values, junk)
      : fc.oneof(
          { arbitrary: fc.constant(undefined), weight: 3 },
          { arbitrary: values, weight: 3 },
          junk,
        )
  }
  const parameters = fc.record(
    Object.fromEntries(
      operation.parameters.map((one) => [`${one.in} ${one.name}`, parameter(one)]),
    ),
  )
  const strayQuery = fc.option(fc.tuple(anyText, anyText), { nil: undefined, freq: 8 })
  const authorization = fc.oneof(
    { arbitrary: fc.constantFrom(...keys.map((key) => `Bearer ${key}`)), weight: 12 },
    fc.constantFrom(undefined, '', 'Bearer', 'Basic eDp5', 'Bearer otpk_test_x_y'),
    headerText,
  )
  return fc
    .record({ parameters, strayQuery, authorization, body: bodiesOf(operation, schemas) })
    .map(({ parameters, strayQuery, authorization, body }) => {
      const given = (where: string) =>
        Object.entries(parameters as Record<string, string | undefined>).flatMap(([key, value]) =>
          key.startsWith(where) && value !== undefined
            ? [[key.slice(where.length + 1), value] as const]
            : [],
        )
      const inPath = new Map(given('path'))
      const query = [...given('query'), ...(strayQuery ? [strayQuery] : [])]
        .map(([name, value]) => `${wellFormed(name)}=${wellFormed(value)}`)
        .join('&')
      const place = path.replace(
        /\{(\w+)\}/g,
        (_, name: string) => wellFormed(inPath.get(name) ?? '') || 'x',
      )
      return {
        path: query ? `${place}?${query}` : place,
        headers: {
          ...Object.fromEntries(given('header').map(([name, text]) => [name, sendable(text)])),
          ...(authorization !== undefined && { authorization }),
          ...body.headers,
        },
        ...(body.bytes && { body: body.bytes }),
      }
    })
}

interface Body {
  headers: Record<string, string>
  bytes?: Buffer
}

function bodiesOf({ requestBody }: Operation, schemas: Schemas): fc.Arbitrary<Body> {
  const none = fc.constant<Body>({ headers: {} })
  const media = requestBody?.content['application/json']
  const json = (value: unknown): Body => ({
    headers: { 'content-type': 'application/json' },
    bytes: Buffer.from(JSON.stringify(value) ?? 'null'),
  })
  const bytes = fc.uint8Array({ maxLength: 200 })
  const junk: fc.Arbitrary<Body> = fc
    .tuple(
      fc.constantFrom(
        'application/json',
        'application/json; charset=latin1',
        'text/plain',
        'application/x-www-form-urlencoded',
        '*/*',
        'x',
      ),
      fc.oneof(
        bytes,
        fc
          .constantFrom('{', '[', '{"a":1,"a":2}', 'null', '"', '\ufeff{}', '1e999', '['.repeat(20))
          .map((text) => Buffer.from(text)),
      ),
      fc.constantFrom<Record<string, string>>({}, {}, {}, { 'content-encoding': 'gzip' }),
    )
    .map(([type, content, more]) => ({
      headers: { 'content-type': type, ...more },
      bytes: Buffer.from(content),
    }))
  if (!media?.schema)
    return requestBody ? fc.oneof(none, junk) : fc.oneof({ arbitrary: none, weight: 4 }, junk)
  return fc.oneof(
    { arbitrary: valuesOf(media.schema, schemas).map(json), weight: 6 },
    ...(media.example === undefined
      ? []
      : [{ arbitrary: fc.constant(json(media.example)), weight: 3 }]),
    { arbitrary: nearlyValuesOf(media.schema, schemas).map(json), weight: 5 },
    { arbitrary: junk, weight: 2 },
    { arbitrary: none, weight: 1 },
  )
}

export async function make(
  url: string,
  method: string,
  { path, headers, body }: Call,
): Promise<Answer> {
  const response = await request(url + path, {
    method: method as 'GET',
    headers,
    body: body ?? null,
    headersTimeout: 30_000,
  })
  return {
    status: response.statusCode,
    headers: response.headers,
    text: await response.body.text(),
  }
}

/** Makes the check of answers against the document; its finding is a sentence, or undefined. */
export function createJudge({ components }: Pick<Document, 'components'>) {
  const judge = documentJudge(components.schemas)
  return ({ operation }: Target, { status, headers, text }: Answer): string | undefined => {
    if (status >= 500) return `answered ${status}`
    const described = operation.responses[String(status)]
    if (!described) return `answered ${status}, which is not described`
    for (const name of Object.keys(described.headers ?? {}))
      if (name === 'X-Trace-Id' && headers[name.toLowerCase()] === undefined)
        return `${status} lacks ${name}`
    if (status === 429 && !/^\d+$/.test(String(headers['retry-after'])) && !text.includes('LOCKED'))
      return '429 without a Retry-After'
    const { content } = described
    if (!content) return text === '' ? undefined : `${status} has a body, which is not described`
    const [type = ''] = String(headers['content-type'] ?? '').split(';')
    const media = content[type] ?? content['*/*']
    if (!media) return `${status} is ${type || 'without a type'}, which is not described`
    if (!media.schema) return undefined
    const fault = judge(media.schema, JSON.parse(text))
    return fault && `${status} does not fit its schema: ${fault}\n${text}`
  }
}

/** Collects ids from an answer, by the names that paths have for them. */
export function gather(ids: Map<string, string[]>, text: string): void {
  for (const [, name = '', value = ''] of text.matchAll(/"(\w*id)":"([\w-]{1,60})"/g)) {
    const known = ids.get(name) ?? []
    if (!known.includes(value)) ids.set(name, [...known.slice(-9), value])
  }
}
