import { z } from 'zod'
import { errorCodes } from '../core/error-code'
import { ProblemBody } from './contract/common'
import { pathParameters } from './contract/path-parameters'
import { contract } from './contract/registry'
import { errorsOf, type ReplyDescription, type Route } from './route'

type Json = Record<string, unknown>

export const apiVersion = '1.0.0'

/** The OpenAPI 3.1 document of these routes: every call, every status it can answer. */
export function openApiDocument(
  routes: Route[],
  publicUrl: string,
  { redirects = false }: { redirects?: boolean } = {},
) {
  const paths: Record<string, Record<string, Operation>> = {}
  for (const route of routes)
    paths[route.path] = { ...paths[route.path], [route.method]: operationOf(route, redirects) }
  return {
    openapi: '3.1.0',
    info: {
      title: 'otpilot',
      version: apiVersion,
      description:
        'Sends and checks one-time passcodes. Every error is application/problem+json with an error_code.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: publicUrl }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: schemas(),
      securitySchemes: {
        apiKey: {
          type: 'http',
          scheme: 'bearer',
          description:
            'An API key: otpk_live_…, otpk_test_… or, for administration, otpk_operator_….',
        },
      },
    },
  }
}

export interface Operation extends Json {
  responses: Record<string, Json>
}

function operationOf(route: Route, redirects: boolean): Operation {
  const body = bodyOf(route)
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description && { description: route.description }),
    ...(route.retirement && { deprecated: true }),
    ...(route.scope
      ? {
          security: [{ apiKey: [] }],
          'x-scope': [route.scope, route.orScope].filter(Boolean).join(' or '),
        }
      : { security: [] }),
    parameters: parametersOf(route),
    ...(body && { requestBody: body }),
    responses: {
      ...repliesOf(route),
      ...(redirects && !route.plainHttp && { 308: toHttps }),
      ...refusalsOf(route),
    },
  }
}

const anything = z.string().min(1)
const headerSchemas: Record<string, Json> = {
  'Idempotency-Key': {
    type: 'string',
    pattern: '^("[ -~]{1,255}"|[!-~]{1,255})$',
    examples: ['login-4711'],
  },
  Prefer: { type: 'string', examples: ['wait=5'] },
}

function parametersOf({ path, query, requestHeaders = {} }: Route): Json[] {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: inline(pathParameters[name ?? ''] ?? anything),
  }))
  const properties = query ? ((inline(query).properties ?? {}) as Record<string, Json>) : {}
  const inQuery = Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    ...(description !== undefined && { description }),
    schema,
  }))
  const headers = Object.entries(requestHeaders).map(([name, description]) => ({
    name,
    in: 'header',
    description,
    schema: headerSchemas[name] ?? { type: 'string' },
  }))
  return [...inPath, ...inQuery, ...headers]
}

function bodyOf({
  method,
  body,
  bodyOptional,
  rawBody,
  rawSchema,
  example,
}: Route): Json | undefined {
  const schema = body ?? rawSchema
  if (schema) {
    const media = { schema: reference(schema), ...(example && { example }) }
    return { required: !bodyOptional, content: { 'application/json': media } }
  }
  // A GET has none. Generators cannot make a body without a schema.
  if (!rawBody || method === 'get') return undefined
  const content = { '*/*': { schema: { type: 'string', format: 'binary' } } }
  return { description: 'As the provider sends it.', content }
}

const traceHeader = {
  'X-Trace-Id': { description: 'Leads to this call in the logs.', schema: { type: 'string' } },
}

/** What a call without encryption gets where it is not refused. */
const toHttps = {
  description: 'Over plain HTTP: the same call at the public https address.',
  headers: { Location: { description: 'Where to.', schema: { type: 'string' } } },
}

/** What every answer of a route carries. */
const commonHeaders = ({ scope, retirement }: Route): Json => ({
  ...traceHeader,
  ...(scope &&
    headersOf({
      'RateLimit-Policy': 'To secret keys: the calls that this key may make in a minute.',
      RateLimit: 'To secret keys: about how many are left (r), and when there are new ones (t).',
    })),
  ...(retirement &&
    headersOf({
      Deprecation: 'RFC 9745: since when this call is on its way out.',
      Sunset: 'RFC 8594: when this call will be gone.',
    })),
})

function repliesOf(route: Route): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(route.replies).map(([status, reply]) => [
      status,
      {
        description: reply.description,
        headers: { ...commonHeaders(route), ...headersOf(reply.headers) },
        ...(reply.content && { content: contentOf(reply.content) }),
      },
    ]),
  )
}

const headersOf = (headers: Record<string, string> = {}) =>
  Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [
      name,
      { description, schema: { type: 'string' } },
    ]),
  )

const contentOf = (content: NonNullable<ReplyDescription['content']>): Json =>
  typeof content === 'string'
    ? { [content]: {} }
    : { 'application/json': { schema: reference(content) } }

/** One response a status: its description lists the error codes that can come with it. */
function refusalsOf(route: Route): Record<string, Json> {
  const byStatus = Map.groupBy(errorsOf(route), (code) => errorCodes[code][0])
  return Object.fromEntries(
    [...byStatus]
      // A status that the route also answers of its own keeps its own description.
      .filter(([status]) => !(status in route.replies))
      .map(([status, codes]) => [
        String(status),
        {
          description: codes.map((code) => `${code}: ${errorCodes[code][1]}`).join(' '),
          headers: {
            ...commonHeaders(route),
            ...(status === 429 || status === 503
              ? headersOf({ 'Retry-After': 'Seconds to wait before the next try.' })
              : {}),
            ...(status === 405 ? headersOf({ Allow: 'The methods of this path.' }) : {}),
          },
          content: { 'application/problem+json': { schema: reference(ProblemBody) } },
        },
      ]),
  )
}

const uri = (id: string) => `#/components/schemas/${id}`

function reference(schema: z.ZodType): Json {
  const id = contract.get(schema)?.id
  return id ? { $ref: uri(id) } : inline(schema)
}

function inline(schema: z.ZodType): Json {
  return bare(z.toJSONSchema(schema, { io: 'input' }))
}

/** Without the members that say which dialect and document a schema is, which OpenAPI says itself. */
function bare(schema: Json): Json {
  const kept = Object.entries(schema).filter(([name]) => name !== '$schema' && name !== '$id')
  return forGenerators(Object.fromEntries(kept)) as Json
}

const knownFormats: ReadonlySet<unknown> = new Set(['date-time', 'date', 'email', 'uri', 'uuid'])

/**
 * The same said so that generators of clients understand it. A format need not be said again as a pattern: they read
 * one or the other, and some stumble. An object that takes no other members says so by their names: of
 * `additionalProperties: false` the typescript-fetch client of openapi-generator makes bodies that hold each member
 * twice, under its own name and under JavaScript's, which are then refused.
 */
function forGenerators(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(forGenerators)
  if (typeof value !== 'object' || value === null) return value
  const saysTwice =
    'format' in value && knownFormats.has(value.format) && 'pattern' in value && 'type' in value
  const members =
    'additionalProperties' in value && value.additionalProperties === false
      ? Object.keys(('properties' in value && value.properties) || {})
      : undefined
  const kept = Object.entries(value)
    .filter(([name]) => !(saysTwice && name === 'pattern'))
    .filter(([name]) => !(members && name === 'additionalProperties'))
    .map(([name, member]) => [name, forGenerators(member)] as const)
  return { ...Object.fromEntries(kept), ...(members && { propertyNames: { enum: members } }) }
}

/** The contract's schemas; answers stay open for members to come, inputs are closed. */
function schemas(): Record<string, Json> {
  const all = z.toJSONSchema(contract, { uri, io: 'input' }).schemas
  return Object.fromEntries(Object.entries(all).map(([id, schema]) => [id, bare(schema)]))
}
