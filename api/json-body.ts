import type { IncomingMessage } from 'node:http'
import { Problem } from './problem'

/** The largest body taken unless a route says otherwise, in bytes. */
export const usualBodyBytes = 16 * 1024
/** Deeper nesting than any body of the contract needs. */
const depthLimit = 16
const jsonType = 'application/json'
/** As it is written, and ASCII, which is a part of it. */
const utf8 = /^(utf-?8|(us-)?ascii)$/i

export interface Reading {
  /** Ends it, with its reason as the error: the request is then paused, and what was read is dropped. */
  signal?: AbortSignal
  /** That so many bytes more are held. */
  grew?: (bytes: number) => void
}

/**
 * Reads a whole body of at most `limit` bytes.
 * @throws {Problem} PAYLOAD_TOO_LARGE as soon as the limit is passed (the rest is read off and dropped),
 * UNSUPPORTED_MEDIA_TYPE for compressed bodies.
 */
export async function readBody(
  request: IncomingMessage,
  limit: number = usualBodyBytes,
  { signal, grew }: Reading = {},
): Promise<Buffer> {
  const encoding = request.headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (encoding !== '' && encoding !== 'identity') {
    request.resume()
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', { detail: 'Compressed bodies are not taken.' })
  }
  if (Number(request.headers['content-length']) > limit) {
    request.resume()
    throw new Problem('PAYLOAD_TOO_LARGE')
  }
  // Whoever left before this point will not be heard to leave again, and would be waited for without end.
  if (request.destroyed) throw endedEarly()
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const stop = () => {
      request.off('data', take).off('end', finish).off('error', leave).off('close', leave)
      signal?.removeEventListener('abort', cut)
    }
    const cut = () => {
      stop()
      chunks.length = 0
      request.on('error', () => undefined).pause()
      reject(signal?.reason as Problem)
    }
    const take = (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) {
        chunks.push(chunk)
        grew?.(chunk.length)
        return
      }
      stop()
      // Without a listener the stream would pause, and the caller could never finish sending.
      request.on('error', () => undefined).resume()
      reject(new Problem('PAYLOAD_TOO_LARGE'))
    }
    const finish = () => {
      stop()
      resolve(Buffer.concat(chunks))
    }
    const leave = () => {
      stop()
      reject(endedEarly())
    }
    signal?.addEventListener('abort', cut)
    request.on('data', take).on('end', finish).on('error', leave).on('close', leave)
  })
}

const endedEarly = () => new Problem('INVALID_REQUEST', { detail: 'The body ended too early.' })

/**
 * Parses a JSON body; an absent one is `{}` where that is allowed.
 * Parameters of the media type have no effect (RFC 8259, section 11); a charset other than UTF-8 is refused, since its
 * text would be read wrongly.
 * @throws {Problem} for another media type, bytes that are no UTF-8, bad JSON or deep nesting.
 */
export function parseJson(
  raw: Buffer,
  contentType: string | undefined,
  optional: boolean,
): unknown {
  if (raw.length === 0 && optional) return {}
  const [type = '', ...parameters] = (contentType ?? '').split(';')
  if (type.trim().toLowerCase() !== jsonType) throw new Problem('UNSUPPORTED_MEDIA_TYPE')
  if (!utf8.test(charsetIn(parameters) ?? 'utf-8'))
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', { detail: 'The body must be JSON in UTF-8.' })
  if (raw.length === 0) throw new Problem('INVALID_REQUEST', { detail: 'A JSON body is required.' })
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(raw)
  } catch {
    throw new Problem('INVALID_REQUEST', { detail: 'The body is not UTF-8.' })
  }
  const fault = structureFault(text)
  if (fault) throw new Problem('INVALID_REQUEST', { detail: fault })
  try {
    return JSON.parse(text, refusePrototype)
  } catch (error) {
    if (error instanceof Problem) throw error
    throw new Problem('INVALID_REQUEST', { detail: 'The body is not valid JSON.' })
  }
}

const charsetIn = (parameters: readonly string[]): string | undefined =>
  parameters
    .map((parameter) => /^\s*charset\s*=\s*["']?([^"'\s]+)/i.exec(parameter)?.[1])
    .find((charset) => charset !== undefined)

function refusePrototype(key: string, value: unknown): unknown {
  if (key !== '__proto__') return value
  throw new Problem('INVALID_REQUEST', { detail: 'The body has a field that is not allowed.' })
}

/**
 * What is wrong with the shape of a JSON text, without parsing it. Of a field that comes twice, JSON.parse keeps the
 * last and others keep the first: whoever checked the body before us may have seen another one.
 */
function structureFault(text: string): string | undefined {
  // The names seen in each object around the place, null for an array.
  const around: (Set<string> | null)[] = []
  // A string without an end goes to the end of the text: each character is looked at once, whatever comes.
  const tokens = /"(?:[^"\\]|\\.)*(?:"(\s*:)?|\\?$)|[{}[\]]/gs
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === '{' || token === '[') {
      around.push(token === '{' ? new Set() : null)
      if (around.length > depthLimit) return `The body nests deeper than ${depthLimit} levels.`
    } else if (token === '}' || token === ']') around.pop()
    else if (colon !== undefined) {
      const name = nameIn(token.slice(0, -colon.length))
      const names = around.at(-1)
      if (names?.has(name)) return 'The body has a field twice.'
      names?.add(name)
    }
  }
  return undefined
}

/** A name may be written with escapes; one that is not valid JSON is left to the parser. */
function nameIn(quoted: string): string {
  try {
    return String(JSON.parse(quoted))
  } catch {
    return quoted
  }
}
