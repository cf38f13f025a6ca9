import { docsPage, docsPolicy } from '../docs-page'
import { openApiDocument } from '../openapi'
import { type Route, route } from '../route'

/** The API's description of itself, made once of all routes, these two included. */
export function documentationRoutes(others: Route[], publicUrl: string): Route[] {
  const routes: Route[] = [
    ...others,
    route({
      method: 'get',
      path: '/openapi.json',
      operationId: 'openApi',
      tag: 'Documentation',
      summary: 'This API as an OpenAPI 3.1 document',
      scope: null,
      replies: { 200: { description: 'The document.', content: 'application/json' } },
      handle: async () => ({ body: document, contentType: 'application/json' }),
    }),
    route({
      method: 'get',
      path: '/docs',
      operationId: 'docs',
      tag: 'Documentation',
      summary: 'This API as a page for people',
      scope: null,
      replies: { 200: { description: 'The page.', content: 'text/html' } },
      handle: async () => ({
        body: page,
        contentType: 'text/html',
        headers: { 'Content-Security-Policy': docsPolicy },
      }),
    }),
  ]
  // Written once: anybody may ask for it, as often as they like.
  const document = Buffer.from(JSON.stringify(openApiDocument(routes, publicUrl)))
  const page = docsPage(routes, publicUrl)
  return routes.slice(others.length)
}
