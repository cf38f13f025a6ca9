import type { Response } from 'express'
import type { Route } from './route'

/**
 * Lets pages of any origin make the calls that publishable keys may make (Fetch standard, CORS protocol). Callers are
 * told by their key, never by a cookie, so no origin gets anything that it could not get without a browser.
 */
export function openToPages(response: Response, route: Route): void {
  if (!route.publishable) return
  response.set({
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Expose-Headers': 'Retry-After, X-Trace-Id',
  })
}

/** Answers a browser that asks beforehand; `routes` are those of the path. */
export function openPathToPages(response: Response, routes: Route[]): void {
  const open = routes.filter(({ publishable }) => publishable)
  if (open.length === 0) return
  response.set({
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Methods': open.map(({ method }) => method.toUpperCase()).join(', '),
    'Access-Control-Allow-Headers': 'Authorization, Content-Type',
    'Access-Control-Max-Age': '600',
  })
}
