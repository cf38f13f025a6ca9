import { expect } from '@jest/globals'
import { errorCodes, type ErrorCode } from '../../core/error-code'
import type { System } from './system'

/** Sent in every odd place; must never be logged, nor come back. */
export const canary = 'canary4711'

export interface Sent {
  method?: string
  path?: string
  body?: string | Buffer | undefined
  headers?: Record<string, string>
}

export async function rawCall(
  system: Pick<System, 'url' | 'key'>,
  { method = 'POST', path = '/otp/send', body, headers = {} }: Sent,
) {
  const response = await fetch(system.url + path, {
    method,
    headers: {
      authorization: `Bearer ${system.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    ...(body !== undefined && { body }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** Makes a call that has to be refused; checks what every refusal looks like and does not hold. */
export async function refusalOf(
  system: Pick<System, 'url' | 'key'>,
  sent: Sent,
): Promise<ErrorCode> {
  const { status, headers, text } = await rawCall(system, sent)
  expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(headers.get('cache-control')).toBe('no-store')
  expect(headers.get('x-powered-by')).toBeNull()
  const problem = JSON.parse(text) as Record<string, unknown>
  const code = problem.error_code as ErrorCode
  expect(problem).toMatchObject({
    type: expect.stringMatching(/^urn:otpilot:problem:[a-z-]+$/),
    title: errorCodes[code][1],
    status,
    message: expect.stringMatching(/\.$/),
    trace_id: headers.get('x-trace-id'),
  })
  expect(problem).toHaveProperty('request_id')
  expect(problem.detail).toBe(problem.message)
  expect(errorCodes[code][0]).toBe(status)
  expect(text).not.toContain(canary)
  expect(text).not.toMatch(/\n\s+at |node_modules/)
  return code
}
