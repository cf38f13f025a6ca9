import { setTimeout as pause } from 'node:timers/promises'
import type { StatusAnswer } from '../../api/contract/status'
import type { System } from './system'

export interface Answer<Body = Record<string, unknown>> {
  status: number
  headers: Headers
  body: Body
}

/** An integrating service: plain HTTP against the running API. */
export function clientOf(
  system: Pick<System, 'sandboxUrl' | 'key'> & { url: string },
  key = system.key,
) {
  async function call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<Body>> {
    const response = await fetch(system.url + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Body,
    }
  }
  const send = (
    phone: string,
    given: Record<string, unknown> = {},
    headers: Record<string, string> = {},
  ) =>
    call<{
      request_id: string
      status: string
      channel: string
      resend?: string
      error_code?: string
    }>('POST', '/otp/send', { phone_number: phone, ...given }, headers)
  return {
    call,
    send,
    /** Sends and insists on a 200. */
    sent: async (phone: string, given: Record<string, unknown> = {}) => {
      const { status, body } = await send(phone, given)
      if (status !== 200) throw new Error(`send answered ${status}: ${JSON.stringify(body)}`)
      return body.request_id
    },
    verify: (given: Record<string, unknown>) =>
      call<{ status?: string; error_code?: string; attempts_remaining?: number }>(
        'POST',
        '/otp/verify',
        given,
      ),
    status: async (requestId: string) =>
      (await call<StatusAnswer>('GET', `/otp/${requestId}`)).body,
    inbox: async (phone: string): Promise<InboxEntry[]> =>
      (await (
        await fetch(`${system.sandboxUrl}/inbox?to=${encodeURIComponent(phone)}`)
      ).json()) as InboxEntry[],
    script: async (key_: string, scenario: unknown) => {
      const response = await fetch(`${system.sandboxUrl}/scenarios/${encodeURIComponent(key_)}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(scenario),
      })
      if (!response.ok) throw new Error(`scenario refused: ${await response.text()}`)
    },
  }
}
export type TestClient = ReturnType<typeof clientOf>

export interface InboxEntry {
  id: string
  provider: string
  channel: string
  to: string
  text: string
  code: string
  at: string
  status: string
  request_id?: string
}

/** Waits until `look` finds something; fails with what it last saw. */
export async function until<T>(
  look: () => Promise<T | undefined | false | null>,
  { within = 20_000, what = 'it' }: { within?: number; what?: string } = {},
): Promise<T> {
  const end = Date.now() + within
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false && found !== null) return found
    if (Date.now() > end) throw new Error(`${what} did not happen within ${within} ms`)
    await pause(50)
  }
}

/** Waits for the request's end, or for the state given. */
export const untilState = (
  client: TestClient,
  requestId: string,
  state?: string,
  within = 20_000,
) =>
  until(
    async () => {
      const status = await client.status(requestId)
      return (state === undefined ? status.state !== 'pending' : status.state === state) && status
    },
    { within, what: `state ${state ?? 'final'} of ${requestId}` },
  )

let last = 0
/** A valid Ghanaian mobile number that no other test of this file uses; delivers at once. */
export const freshPhone = (): string =>
  `+23324${String(1_000_000 + (process.pid % 8000) * 1000 + ++last).slice(-7)}`

/** Digits that no other call in this process got, for numbers and ids that a test puts together itself. */
export const freshDigits = (count: number): string => String(4 * 10 ** (count - 1) + ++last)

/** Adds how long a call took, in milliseconds. */
export const timed = async <T>(call: () => Promise<T>): Promise<T & { ms: number }> => {
  const since = performance.now()
  const result = await call()
  return { ...result, ms: performance.now() - since }
}
