import type { Logger } from 'pino'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import type { Timers } from './timers'

const callTimeoutMs = 10_000
const retryPausesMs = [200, 1_000, 5_000, 15_000]
const lastRetryPauseMs = 15_000
const giveUpAfterMs = 120_000

export type Callbacks = ReturnType<typeof createCallbacks>

/** A call to the product as a vendor makes it. */
export interface Delivery {
  url: string
  /** GET without a body. */
  headers?: Record<string, string>
  body?: string
}

/** Signed calls to the product, over kept-alive connections. */
export function createCallbacks(secret: string, timers: Timers, logger: Logger) {
  const webhooks = secret.split(' ').map((each) => new Webhook(each))
  const agent = new Agent({
    connections: 64,
    connect: { timeout: 2_000 },
    headersTimeout: callTimeoutMs,
    bodyTimeout: callTimeoutMs,
  })

  /** One call; resolves with the text of a 2xx answer, rejects for any other. */
  async function call({ url, headers = {}, body }: Delivery): Promise<string> {
    const method = body === undefined ? 'GET' : 'POST'
    const answer = await request(url, { method, dispatcher: agent, headers, body: body ?? null })
    const text = await answer.body.text()
    if (answer.statusCode >= 200 && answer.statusCode < 300) return text
    throw new Error(`The callback was answered with ${answer.statusCode}.`)
  }

  /** One signed POST, as the sandbox's own contract has it. */
  function post(url: string, id: string, payload: object): Promise<string> {
    const body = JSON.stringify(payload)
    const now = new Date()
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
      'webhook-signature': webhooks.map((webhook) => webhook.sign(id, now, body)).join(' '),
    }
    return call({ url, headers, body })
  }

  const succeeds = (work: () => Promise<string>) =>
    work().then(
      () => true,
      () => false,
    )

  /** Because the product may be restarting, a refused callback comes again for two minutes. */
  async function repeat(work: () => Promise<string>) {
    const startedAt = Date.now()
    for (let retry = 0; Date.now() - startedAt < giveUpAfterMs; retry++) {
      await timers.wait(retryPausesMs[retry] ?? lastRetryPauseMs)
      if (await succeeds(work)) return
    }
    logger.warn('a callback got no 2xx answer for two minutes and was given up')
  }

  async function untilTaken(work: () => Promise<string>): Promise<void> {
    if (!(await succeeds(work))) void repeat(work)
  }

  return {
    post,
    call,
    /** Resolves after the first try; further ones go on in the background. */
    report: (url: string, id: string, payload: object) => untilTaken(() => post(url, id, payload)),
    /** The same for a call in somebody else's format. */
    deliver: (delivery: Delivery) => untilTaken(() => call(delivery)),

    close: () => agent.destroy(),
  }
}
