import { createHash, randomUUID } from 'node:crypto'
import type { Request, Response } from 'express'
import { SignJWT } from 'jose'
import { z } from 'zod'
import type { Playing, VendorParts } from './vendor'

/** As Vonage wants numbers: without `+`. */
export const number = z.string().regex(/^[1-9]\d{6,14}$/)

interface Failure {
  status: number
  title: string
  /** The last part of the error's address. */
  kind?: string
  detail?: string
  invalid?: { name: string; reason: string }[]
}

/** An error as Vonage's APIs answer one. */
export function fail(
  res: Response,
  { status, title, kind = '', detail = title, invalid }: Failure,
): void {
  res.status(status).json({
    type: `https://developer.vonage.com/api-errors${kind}`,
    title,
    detail,
    instance: randomUUID(),
    ...(invalid && { invalid_parameters: invalid }),
  })
}

/** @returns undefined when the body was refused. */
export function read<T>(schema: z.ZodType<T>, req: Request, res: Response): T | undefined {
  const { success, data, error } = schema.safeParse(req.body)
  if (success) return data
  const invalid = error.issues.map(({ path, message }) => ({
    name: path.map((part) => (typeof part === 'number' ? `[${part}]` : part)).join('.'),
    reason: message,
  }))
  fail(res, { status: 422, title: 'Invalid params', kind: '/messages#1150', invalid })
  return undefined
}

/** Refusals that a scenario asks for. */
export const refuseAs =
  (res: Response, api: string): Playing['refuse'] =>
  (_res, { status, errorCode, retryAfterSeconds }) => {
    if (retryAfterSeconds !== undefined) res.set('retry-after', String(retryAfterSeconds))
    if (errorCode === 'INVALID_NUMBER') {
      const invalid = [{ name: 'to', reason: 'must be a valid phone number' }]
      return fail(res, { status: 422, title: 'Invalid params', kind: `${api}#1150`, invalid })
    }
    if (errorCode === 'BLOCKED')
      return fail(res, { status: 422, title: '1240', kind: `${api}#1240`, detail: 'Opted out.' })
    fail(res, { status, title: status === 429 ? 'Rate Limit Hit' : 'Internal Error', kind: api })
  }

/** A callback as Vonage signs it: HS256, with the hash of the body. */
export async function signed({ settings }: VendorParts, url: string, body: string) {
  const { API_KEY, APPLICATION_ID, SIGNATURE_SECRET = '' } = settings
  const [secret = ''] = SIGNATURE_SECRET.split(' ')
  const token = await new SignJWT({
    api_key: API_KEY,
    application_id: APPLICATION_ID,
    payload_hash: createHash('sha256').update(body).digest('hex'),
  })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer('Vonage')
    .setIssuedAt()
    .setJti(randomUUID())
    .sign(Buffer.from(secret))
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return { url, headers, body }
}
