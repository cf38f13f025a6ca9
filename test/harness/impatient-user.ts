import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { clientOf, type InboxEntry, until } from './client'

const callPatienceMs = 5_000
const messagePatienceMs = 120_000

/**
 * A service that integrates otpilot and knows that servers die: every call is made again until it is answered,
 * a send under one Idempotency-Key.
 */
export function createImpatientUser(
  system: { url: string; sandboxUrl: string; key: string },
  phone: string,
) {
  const client = clientOf(system)

  /** Calls until `settled` likes the answer; anything else is a server that is coming back. */
  async function insist<T>(
    call: () => Promise<{ status: number; body: T }>,
    settled: (status: number) => boolean,
    within = 60_000,
  ): Promise<{ status: number; body: T }> {
    const end = Date.now() + within
    for (;;) {
      const answer = await Promise.race([
        call().catch(() => undefined),
        pause(callPatienceMs, undefined, { ref: false }),
      ])
      if (answer && settled(answer.status)) return answer
      if (Date.now() > end)
        throw new Error(`no answer within ${within} ms, the last one: ${answer?.status ?? 'none'}`)
      await pause(200)
    }
  }

  return {
    phone,
    /** @returns the id that a 200 or 202 named. */
    async send(given: Record<string, unknown>): Promise<string> {
      const headers = { 'idempotency-key': randomUUID() }
      const { body } = await insist(
        () => client.send(phone, given, headers),
        (status) => status === 200 || status === 202,
      )
      return body.request_id
    },
    /** The first message that comes by this channel. */
    message: (channel: string): Promise<InboxEntry> =>
      until(
        async () => (await client.inbox(phone)).findLast((entry) => entry.channel === channel),
        {
          within: messagePatienceMs,
          what: `a message by ${channel}`,
        },
      ),
    async verify(code: string): Promise<string> {
      const { body } = await insist(
        () => client.verify({ phone_number: phone, code }),
        (status) => status === 200,
      )
      return body.status === 'verified' ? 'verified' : (body.error_code ?? 'none')
    },
  }
}
