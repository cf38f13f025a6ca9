import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'

interface Session {
  account?: string
  /** What was typed in the session so far, as the sandbox's contract has it. */
  input?: string
  /** The last part of the address. */
  path?: string
}

/** Opens a USSD session straight at the API, as the network would. */
export async function ussdSession(
  url: string,
  secret: string,
  phone_number: string,
  { account = 'sandbox-a', input = '', path = 'session' }: Session = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const id = randomUUID()
  const at = new Date()
  const body = JSON.stringify({ session_id: id, phone_number, input })
  const response = await fetch(`${url}/ussd/${account}/${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(id, at, body),
    },
    body,
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
