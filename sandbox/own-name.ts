import type { RequestHandler } from 'express'
import { isIP } from 'node:net'
import { Problem } from './problem'

/**
 * Answers only calls that were made to the sandbox by a name of its own. A page of another site can make its own
 * name lead here and then read the codes; it cannot do so with an address, a name without a dot or `localhost`.
 * @param url where the sandbox is reached, when by a name of more than one part
 */
export function refuseOtherNames(url: string | undefined): RequestHandler {
  const ownName = url && new URL(url).hostname
  return ({ headers: { host = '' } }, _res, next) => {
    const name = URL.parse(`http://${host}`)?.hostname ?? ''
    const isOurs =
      name === ownName ||
      isIP(name.replace(/^\[|\]$/g, '')) !== 0 ||
      /^[a-z0-9_-]+\.?$/.test(name) ||
      /\.localhost\.?$/.test(name)
    if (isOurs) return next()
    throw new Problem(403, 'FORBIDDEN', 'The sandbox is not reached by this name: see SANDBOX_URL.')
  }
}
