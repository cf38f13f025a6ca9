import { docsPage, docsPolicy } from '../docs-page'
import type { ApiDeps } from '../deps'
import { openApiDocument } from '../openapi'
import { type Route, route } from '../route'

/** The API's description of itself, made once of all routes, these two included. */
export function documentationRoutes(
  others: Route[],
  { publicUrl, isProduction, plainHttp }: Pick<ApiDeps, 'publicUrl' | 'isProduction' | 'plainHttp'>,
): Route[] {
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
  const redirects = isProduction && plainHttp === 'redirect'
  // Written once: anybody may ask for it, as often as they like.
  const document = Buffer.from(JSON.stringify(openApiDocument(routes, publicUrl, { redirects })))
  const page = docsPage(routes, publicUrl)
  return routes.slice(others.length)
}
