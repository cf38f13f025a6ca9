import type { Readable } from 'node:stream'
import { z } from 'zod'
import type { ErrorCode } from '../core/error-code'
import type { ApiKey } from '../db/apps/api-keys'
import type { App } from '../db/apps/apps'
import type { AdmissionKind } from './admission'
import type { Client } from './client-address'
import { readFields } from './validation'

export const scopes = ['send', 'verify', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]

export type Headers = Record<string, string | string[] | undefined>

/** A call as it arrives at a route. */
export interface Call<Body = unknown, Query = unknown, Params = Record<string, string>> {
  body: Body
  query: Query
  params: Params
  /** The query as it came, with its `?`; empty without one. */
  search: string
  /** The bytes that came in: idempotency is over them. Empty on routes with `rawBody`, see `readBody`. */
  raw: Buffer
  /**
   * Reads the body, on routes with `rawBody` alone: signatures are over its bytes. What can be known without it is to be
   * looked at before, since nobody has shown yet that they may send one.
   * @param limit the most bytes that are taken; absent: the route's
   */
  readBody?: (limit?: number) => Promise<Buffer>
  headers: Headers
  /** Who calls; undefined only on routes without a scope. */
  key: ApiKey | undefined
  /** Where the call comes from: see `client-address.ts`. */
  client: Client
  /** Aborts when the caller leaves. */
  signal: AbortSignal
  /** How busy we are is told by the time between these two: see `admission.ts`. */
  begun?: () => void
  settled?: () => void
}

/** The key of an app. */
export type AppKey = ApiKey & { app: App }

type CallBy<Key, Body, Query, Params> = Omit<Call<Body, Query, Params>, 'key'> & { key: Key }

/** A call by an app's key. */
export type KeyCall<Body = unknown, Query = unknown, Params = Record<string, string>> = CallBy<
  AppKey,
  Body,
  Query,
  Params
>

/** A call by a key with the scope admin: an app's, for that app alone, or an operator's (without an app), for all. */
export type AdminCall<Body = unknown, Query = unknown, Params = Record<string, string>> = CallBy<
  ApiKey,
  Body,
  Query,
  Params
>

export interface Reply {
  status?: number
  /** An object becomes JSON; text and bytes need a `contentType`. */
  body: object | string | Buffer | Readable
  contentType?: string
  headers?: Record<string, string>
}

export interface ReplyDescription {
  description: string
  /** A schema of the contract, or a media type for what is not JSON. */
  content?: z.ZodType | string
  headers?: Record<string, string>
}

interface Description {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** With `{name}` placeholders, as OpenAPI writes them. */
  path: string
  operationId: string
  tag: string
  summary: string
  description?: string
  /** A body that works, for the documentation. */
  example?: object
  /** Headers the call understands, with a sentence each. */
  requestHeaders?: Record<string, string>
  replies: Record<number, ReplyDescription>
  /** What it can refuse with, beside what every call of its kind can (see `errorsOf`). */
  errors?: readonly ErrorCode[]
  /** Another scope that is enough. */
  orScope?: Exclude<Scope, 'admin'>
  /** Keys that browsers and mobile apps hold may make this call too. */
  publishable?: boolean
  /** Probes may call it without encryption, in production too. */
  plainHttp?: boolean
  /** When the call was declared to be on its way out, and when it will be gone: days, as 2027-01-31. */
  retirement?: { deprecated: string; sunset: string }
  /** Counted against this limit of calls in flight. */
  admission?: AdmissionKind
}

interface Inputs<Body, Query> {
  body?: z.ZodType<Body>
  /** A call without a body is read as `{}`. */
  bodyOptional?: boolean
  /** The handler reads the body itself, by `readBody`: any media type is taken. */
  rawBody?: boolean
  /** The largest raw body, where it is not the usual one: reports may come in batches. */
  maxBodyBytes?: number
  /** What a raw body holds, where that is ours to say. */
  rawSchema?: z.ZodType
  query?: z.ZodType<Query>
}

type KeyedDefinition<Body, Query> = Description &
  Inputs<Body, Query> & {
    scope: Exclude<Scope, 'admin'>
    handle: (call: KeyCall<Body, Query>) => Promise<Reply>
  }
type AdminDefinition<Body, Query> = Description &
  Inputs<Body, Query> & {
    scope: 'admin'
    handle: (call: AdminCall<Body, Query>) => Promise<Reply>
  }
type OpenDefinition<Body, Query> = Description &
  Inputs<Body, Query> & {
    scope: null
    handle: (call: Call<Body, Query>) => Promise<Reply>
  }

/** A route as Express and the OpenAPI document read it. */
export interface Route extends Description, Inputs<unknown, unknown> {
  scope: Scope | null
  /** Validates, then handles. */
  handle: (call: Call) => Promise<Reply>
}

/** Makes a route whose handler gets parsed, typed input and, where it has a scope, the caller's key. */
export function route<Body = undefined, Query = undefined>(
  definition:
    KeyedDefinition<Body, Query> | AdminDefinition<Body, Query> | OpenDefinition<Body, Query>,
): Route {
  const { body, query } = definition
  return {
    ...definition,
    async handle(call) {
      const parsed = {
        ...call,
        query: (query ? readFields(query, call.query, 'query') : undefined) as Query,
        body: (body ? readFields(body, call.body, 'body') : undefined) as Body,
      }
      if (definition.scope === null) return definition.handle(parsed)
      const { key } = call
      if (!key) throw new Error(`${definition.path} was called without its key.`)
      if (definition.scope === 'admin') return definition.handle({ ...parsed, key })
      const { app } = key
      if (!app) throw new Error(`${definition.path} was called with a key of no app.`)
      return definition.handle({ ...parsed, key: { ...key, app } })
    },
  }
}

/** Every code a route can answer with: those of its own and those of its kind. */
export function errorsOf(route: Route): ErrorCode[] {
  // The first three before the call has a route.
  const ofKind: ErrorCode[] = [
    'INVALID_REQUEST',
    'REQUEST_TIMEOUT',
    'HEADERS_TOO_LARGE',
    'METHOD_NOT_ALLOWED',
    'INTERNAL',
  ]
  if (!route.plainHttp) ofKind.push('HTTPS_REQUIRED')
  if (route.scope || route.rawBody) ofKind.push('OVERLOADED', 'SERVICE_UNAVAILABLE')
  if (route.method !== 'get') ofKind.push('PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE')
  if (route.scope) ofKind.push('UNAUTHENTICATED', 'FORBIDDEN', 'WRONG_REGION', 'QUOTA_EXCEEDED')
  if (route.publishable) ofKind.push('RATE_LIMITED')
  if (route.path.includes('{') || namesWhatMayBeUnknown(route)) ofKind.push('NOT_FOUND')
  return [...new Set([...(route.errors ?? []), ...ofKind])]
}

/** Administrative calls find what a field names, or answer that it is not there; those of apps say what came of it. */
function namesWhatMayBeUnknown({ scope, query, body }: Route): boolean {
  if (scope !== 'admin') return false
  const schemas = [query, body].filter((schema) => schema !== undefined)
  const names = schemas.flatMap((schema) =>
    Object.keys(z.toJSONSchema(schema, { io: 'input' }).properties ?? {}),
  )
  return names.some((name) => name.endsWith('_id'))
}
