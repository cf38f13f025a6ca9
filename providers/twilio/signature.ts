import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { parse, stringify } from 'node:querystring'
import { parseJson } from '../http'
import { ForgedCallback, type InboundCallback } from '../provider'

/** What a genuine callback says: the fields of its form, of its query or the text members of its JSON. */
export type SignedFields = URLSearchParams

/**
 * Authenticates a callback by its X-Twilio-Signature, made with one of the account's tokens, and reads it.
 * The signature is over our address and the fields of a form; a JSON body is held by its digest in the address
 * (providers.md section 1 [S]). It holds no time: a repeated callback is as genuine as the first.
 * @throws {ForgedCallback} when neither token made the signature, or the body is of a kind that it does not cover.
 */
export function readSigned(tokens: readonly string[], callback: InboundCallback): SignedFields {
  const { headers, body, method = 'POST' } = callback
  const given = headers['x-twilio-signature']
  if (typeof given !== 'string') throw new ForgedCallback('The callback is not signed.')
  const form = isForm(headers) ? new URLSearchParams(body.toString('utf8')) : undefined
  const url = new URL(callback.url)
  if (!form && body.length > 0 && !isBodyOf(url, body))
    throw new ForgedCallback('The body is not what the address says.')
  const signed = isSignedBy(tokens, given, { url: callback.url, tail: form ? tailOf(form) : '' })
  if (!signed) throw new ForgedCallback('The signature does not hold.')
  if (form) return form
  return method === 'GET' ? url.searchParams : fieldsOf(parseJson(body.toString('utf8')))
}

const isForm = (headers: InboundCallback['headers']) =>
  /^application\/x-www-form-urlencoded\s*(;|$)/i.test(String(headers['content-type']))

const isBodyOf = ({ searchParams }: URL, body: Buffer): boolean =>
  isEqual(searchParams.get('bodySHA256') ?? '', createHash('sha256').update(body).digest('hex'))

function isSignedBy(
  tokens: readonly string[],
  given: string,
  { url, tail }: { url: string; tail: string },
): boolean {
  const texts = writingsOf(url).map((written) => written + tail)
  return tokens.some((token) =>
    texts.some((text) => isEqual(given, createHmac('sha1', token).update(text).digest('base64'))),
  )
}

function isEqual(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)]
  return one.length === other.length && timingSafeEqual(one, other)
}

/** Names and values in the order of the names; of a name with several values each value once, in order. */
function tailOf(form: URLSearchParams): string {
  const names = [...new Set(form.keys())].sort()
  return names
    .flatMap((name) => [...new Set(form.getAll(name))].sort().map((value) => name + value))
    .join('')
}

/**
 * The ways in which Twilio may have written our address before it signed it: as given or normalised or with its query
 * encoded anew, each with and without a port (providers.md section 1 [S]).
 */
function writingsOf(url: string): string[] {
  const normal = new URL(url).toString()
  const encoded = normal.replace(/\?(.+)$/s, (_all, query: string) => `?${stringify(parse(query))}`)
  const writings = [url, normal, encoded].flatMap((written) => [
    withoutPort(written),
    withPort(written),
  ])
  return [...new Set(writings)]
}

const origin = /^(https?):\/\/([^/?#]*?)(?::(\d+))?(?=[/?#]|$)/i

const withoutPort = (url: string) => url.replace(origin, '$1://$2')

const withPort = (url: string) =>
  url.replace(origin, (_all, scheme: string, host: string, port: string | undefined) => {
    const usual = scheme.toLowerCase() === 'https' ? '443' : '80'
    return `${scheme}://${host}:${port ?? usual}`
  })

function fieldsOf(body: unknown): SignedFields {
  const members = typeof body === 'object' && body !== null ? Object.entries(body) : []
  return new URLSearchParams(
    members.filter((member): member is [string, string] => typeof member[1] === 'string'),
  )
}
