import { faultOfUrl, leadsAstray, literalOf } from '../../../events/address'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'

/**
 * Told at once what every call would find again.
 * @returns the URL as it is called
 * @throws {Problem} INVALID_ENDPOINT with a sentence
 */
export async function requireReachable(
  reach: Pick<ApiDeps, 'isProduction'>,
  url: string,
): Promise<string> {
  const fault = faultOfUrl(url, reach)
  if (fault !== undefined) throw new Problem('INVALID_ENDPOINT', { detail: fault })
  const { hostname, href } = new URL(url)
  if (literalOf(hostname) === undefined && (await leadsAstray(hostname, reach)))
    throw new Problem('INVALID_ENDPOINT', {
      detail: 'The name in the URL leads to an address that is not of the public internet.',
    })
  return href
}
