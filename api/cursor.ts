import { z } from 'zod'
import { Problem } from './problem'

/** Where a page of a list that goes from newest to oldest ended. */
export interface Position {
  /** In UTC, with the microseconds that a Date would drop: `2026-11-30T12:00:00.123456Z`. */
  at: string
  /** Of the row that came last. */
  id: string
}

/** A position as callers hand it back. */
export const cursorOf = ({ at, id }: Position): string =>
  Buffer.from(JSON.stringify([at, id])).toString('base64url')

/**
 * Reads one. Callers can change what they hand back: nothing but a time that there is and an id may reach Postgres.
 * @throws {Problem} INVALID_REQUEST
 */
export function readCursor(cursor: string, id: z.ZodType<string>): Position {
  const refusal = new Problem('INVALID_REQUEST', { detail: 'cursor: is not one of this API.' })
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    throw refusal
  }
  const { success, data } = z.tuple([time, id]).safeParse(decoded)
  if (!success) throw refusal
  return { at: data[0], id: data[1] }
}

const time = z
  .string()
  .regex(/^2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  .refine(isTime)

/** 31 February is a date to JavaScript, which makes another day of it, but not to Postgres. */
function isTime(text: string): boolean {
  const at = new Date(text)
  return !Number.isNaN(at.getTime()) && at.toISOString().slice(0, 23) === text.slice(0, 23)
}
