import { createHmac, timingSafeEqual } from 'node:crypto'
import { ForgedCallback, type InboundCallback } from '../provider'

/**
 * Checks `X-Hub-Signature-256` over the bytes as they came (providers.md section 3 [D, 3P]): written anew, the same JSON
 * may escape its letters and slashes differently.
 * @throws {ForgedCallback} when no secret made the signature, or there is none.
 */
export function checkHubSignature(
  { headers, body }: Pick<InboundCallback, 'headers' | 'body'>,
  secrets: readonly string[],
): void {
  const header = headers['x-hub-signature-256']
  const hex = typeof header === 'string' ? /^sha256=([0-9a-f]{64})$/.exec(header)?.[1] : undefined
  if (hex === undefined) throw new ForgedCallback('The callback has no signature.')
  const given = Buffer.from(hex, 'hex')
  const holds = secrets.some((secret) =>
    timingSafeEqual(given, createHmac('sha256', secret).update(body).digest()),
  )
  if (!holds) throw new ForgedCallback('The callback’s signature does not hold.')
}
