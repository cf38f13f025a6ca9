import type { RequestHandler } from 'express'
import { TLSSocket } from 'node:tls'
import type { Peers } from './client-address'
import { Problem } from './problem'

interface HttpsOptions {
  peers: Peers
  /** What callers without encryption get: a refusal, or a 308 to the public address. */
  plainHttp: 'refuse' | 'redirect'
  publicUrl: string
  /** Paths that answer in the clear too. */
  exempt: ReadonlySet<string>
}

/** Lets only calls through that came encrypted, to this process or to a trusted proxy in front of it. */
export function requireHttps({
  peers,
  plainHttp,
  publicUrl,
  exempt,
}: HttpsOptions): RequestHandler {
  return (request, response, next) => {
    const isEncrypted = request.socket instanceof TLSSocket || peers.saysHttps(request)
    if (isEncrypted || exempt.has(request.path)) return next()
    if (plainHttp === 'refuse') throw new Problem('HTTPS_REQUIRED')
    // 308 keeps method and body; the host is always ours, whatever the caller wrote.
    response
      .status(308)
      .set('Location', publicUrl + pathOf(request.originalUrl))
      .end()
  }
}

/** Path and query of a request target, which may also be a whole address or begin with two slashes. */
function pathOf(target: string): string {
  const url = URL.parse(target.replace(/^[/\\]+/, '/'), 'http://host')
  return url ? url.pathname.replace(/^\/+/, '/') + url.search : '/'
}
