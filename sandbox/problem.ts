import type { ErrorRequestHandler, RequestHandler } from 'express'
import type { Logger } from 'pino'
import { z } from 'zod'

/** A refusal as the caller sees it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** @throws {Problem} 400 that names the fields, never their values. */
export function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const { data, error, success } = schema.safeParse(value)
  if (success) return data
  throw new Problem(400, 'INVALID_REQUEST', z.prettifyError(error))
}

export const notFound: RequestHandler = () => {
  throw new Problem(404, 'NOT_FOUND', 'There is nothing here. See docs/sandbox.md.')
}

/** Problems as JSON; anything else is a bug of ours and says no more than that. */
export const problems =
  (logger: Logger): ErrorRequestHandler =>
  (error: unknown, _req, res, next) => {
    if (res.headersSent) return next(error)
    const { status, code, message } = problemOf(error)
    if (status >= 500) logger.error({ err: error }, 'a request to the sandbox failed')
    res.status(status).json({ error_code: code, message })
  }

function problemOf(error: unknown): Pick<Problem, 'status' | 'code' | 'message'> {
  if (error instanceof Problem) return error
  const status = error instanceof Error && 'status' in error ? error.status : undefined
  if (status === 413) {
    return { status, code: 'PAYLOAD_TOO_LARGE', message: 'The body is larger than 64 KB.' }
  }
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return { status, code: 'INVALID_REQUEST', message: 'The request cannot be read.' }
  }
  return { status: 500, code: 'INTERNAL', message: 'The sandbox failed; its log says why.' }
}
