import { z } from 'zod'
import { searchRequests, type SearchFilter } from '../../db/requests/search'
import { SearchAnswer, SearchBody } from '../contract/status'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import { readAddress } from '../recipient-address'
import { route } from '../route'
import { ownerOf } from '../send-wish'
import { summaryOf } from './status'

const pageSize = 20

export const searchRoute = ({ db, keyring }: ApiDeps) =>
  route({
    method: 'post',
    path: '/otp/search',
    operationId: 'searchOtp',
    tag: 'OTP',
    summary: 'Find requests by state, channel, time or recipient',
    scope: 'read',
    body: SearchBody,
    example: { state: 'pending', limit: 20 },
    replies: { 200: { description: 'One page, newest first.', content: SearchAnswer } },
    errors: ['INVALID_NUMBER', 'INVALID_EMAIL'],
    async handle({ key, body }) {
      const {
        phone_number,
        email,
        created_from,
        created_to,
        limit = pageSize,
        cursor,
        ...same
      } = body
      const hasAddress = phone_number !== undefined || email !== undefined
      const { rows, next } = await searchRequests(db, keyring, {
        ...same,
        ...ownerOf(key),
        recipient: hasAddress
          ? readAddress({ phone_number, email }, key.app.defaultCountry)
          : undefined,
        createdFrom: created_from === undefined ? undefined : new Date(created_from),
        createdTo: created_to === undefined ? undefined : new Date(created_to),
        limit,
        after: cursor === undefined ? undefined : readCursor(cursor),
      })
      const requests = rows.map((row) => summaryOf(row, keyring))
      return { body: { requests, next_cursor: next ? cursorOf(next) : null } }
    },
  })

type Position = NonNullable<SearchFilter['after']>

/** Callers can change what they hand back: nothing but a time that there is and an id may reach Postgres. */
const Position = z.tuple([
  z
    .string()
    .regex(/^2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    .refine(isTime),
  z.string().regex(/^otp_[a-z2-7]{26}$/),
])

const cursorOf = ({ createdAt, requestId }: Position): string =>
  Buffer.from(JSON.stringify([createdAt, requestId])).toString('base64url')

function readCursor(cursor: string): Position {
  const refusal = new Problem('INVALID_REQUEST', { detail: 'cursor: is not one of this API.' })
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    throw refusal
  }
  const { success, data } = Position.safeParse(decoded)
  if (!success) throw refusal
  return { createdAt: data[0], requestId: data[1] }
}

/** 31 February is a date to JavaScript, which makes another day of it, but not to Postgres. */
function isTime(text: string): boolean {
  const at = new Date(text)
  return !Number.isNaN(at.getTime()) && at.toISOString().slice(0, 23) === text.slice(0, 23)
}
