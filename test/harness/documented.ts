import { expect } from '@jest/globals'
import type { Answer, TestClient } from './client'
import { documentJudge } from './document-judge'
import type { JsonSchema, Schemas } from './json-schema-arbitrary'

interface OpenApi {
  paths: Record<string, Record<string, { responses: Record<string, { content?: Content }> }>>
  components: { schemas: Schemas }
}
type Content = Record<string, { schema?: JsonSchema }>

interface Seen {
  method: string
  /** As called, with ids and query. */
  path: string
  status: number
  contentType: string | null
  body: unknown
}

/** Reads the OpenAPI document that a running API serves. */
const readOpenApi = async (url: string): Promise<OpenApi> =>
  (await (await fetch(`${url}/openapi.json`)).json()) as OpenApi

/** Makes a check of answers against the document: path, method, status, media type and every member. */
export async function openApiCheck(url: string): Promise<(seen: Seen) => string | undefined> {
  const { paths, components } = await readOpenApi(url)
  const patterns = Object.entries(paths)
    // A path without placeholders comes before one that would also fit.
    .toSorted(([one], [other]) => one.split('{').length - other.split('{').length)
    .map(([path, methods]) => ({
      pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
      methods,
    }))
  const judge = documentJudge(components.schemas)

  return ({ method, path, status, contentType, body }: Seen): string | undefined => {
    const [bare = ''] = path.split('?')
    const found = patterns.find(({ pattern }) => pattern.test(bare))
    const response = found?.methods[method.toLowerCase()]?.responses[status]
    if (!response) return `${method} ${bare} is not documented with ${status}`
    const [media = ''] = (contentType ?? '').split(';')
    const schema = response.content?.[media]?.schema
    if (!schema) return `${method} ${bare} ${status} is not documented as ${media}`
    const fault = judge(schema, body)
    return fault && `${method} ${bare} ${status}: ${fault}`
  }
}

interface Options {
  by?: TestClient
  headers?: Record<string, string>
}

/** Makes calls whose every answer must be as the API's own OpenAPI document says. */
export async function documentedCalls(url: string, client: TestClient) {
  const check = await openApiCheck(url)
  return async <Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    { by = client, headers = {} }: Options = {},
  ): Promise<Answer<Body>> => {
    const answer = await by.call<Body>(method, path, body, headers)
    const contentType = answer.headers.get('content-type')
    expect(check({ method, path, contentType, ...answer })).toBeUndefined()
    return answer
  }
}
