import { z } from 'zod'
import { searchRequests } from '../../db/requests/search'
import { requestIdShape } from '../contract/common'
import { SearchAnswer, SearchBody } from '../contract/status'
import { cursorOf, readCursor } from '../cursor'
import type { ApiDeps } from '../deps'
import { readingFor } from '../number-reading'
import { readAddress } from '../recipient-address'
import { route } from '../route'
import { ownerOf } from '../send-wish'
import { summaryOf } from './status'

const pageSize = 20

export const searchRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/otp/search',
    operationId: 'searchOtp',
    tag: 'OTP',
    summary: 'Find requests by state, channel, time or recipient',
    description:
      'A page may hold fewer requests than its limit, or none, while next_cursor is there: go on until it is null.',
    scope: 'read',
    admission: 'search',
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
      const { rows, next } = await searchRequests(deps.db, deps.keyring, {
        ...same,
        ...ownerOf(key),
        recipient: hasAddress
          ? readAddress({ phone_number, email }, readingFor(deps, key.app))
          : undefined,
        createdFrom: created_from === undefined ? undefined : new Date(created_from),
        createdTo: created_to === undefined ? undefined : new Date(created_to),
        limit,
        after: cursor === undefined ? undefined : readCursor(cursor, requestId),
      })
      const requests = rows.map((row) => summaryOf(row, deps.keyring))
      return { body: { requests, next_cursor: next ? cursorOf(next) : null } }
    },
  })

/** As this service makes them. */
const requestId = z.string().regex(requestIdShape)
