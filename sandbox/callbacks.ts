import type { Logger } from 'pino'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import type { Timers } from './timers'

const callTimeoutMs = 10_000
const retryPausesMs = [200, 1_000, 5_000, 15_000]
const lastRetryPauseMs = 15_000
const giveUpAfterMs = 120_000

export type Callbacks = ReturnType<typeof createCallbacks>

/** Signed calls to the product, over kept-alive connections. */
export function createCallbacks(secret: string, timers: Timers, logger: Logger) {
  const webhooks = secret.split(' ').map((each) => new Webhook(each))
  const agent = new Agent({
    connections: 64,
    connect: { timeout: 2_000 },
    headersTimeout: callTimeoutMs,
    bodyTimeout: callTimeoutMs,
  })

  /** One signed POST; resolves with the text of a 2xx answer, rejects for any other. */
  async function post(url: string, id: string, payload: object): Promise<string> {
    const body = JSON.stringify(payload)
    const now = new Date()
    const answer = await request(url, {
      method: 'POST',
      dispatcher: agent,
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
        'webhook-signature': webhooks.map((webhook) => webhook.sign(id, now, body)).join(' '),
      },
      body,
    })
    const text = await answer.body.text()
    if (answer.statusCode >= 200 && answer.statusCode < 300) return text
    throw new Error(`The callback was answered with ${answer.statusCode}.`)
  }

  const attempt = (url: string, id: string, payload: object) =>
    post(url, id, payload).then(
      () => true,
      () => false,
    )

  /** Because the product may be restarting, a refused callback comes again for two minutes. */
  async function repeat(url: string, id: string, payload: object) {
    const startedAt = Date.now()
    for (let retry = 0; Date.now() - startedAt < giveUpAfterMs; retry++) {
      await timers.wait(retryPausesMs[retry] ?? lastRetryPauseMs)
      if (await attempt(url, id, payload)) return
    }
    logger.warn({ callback: id }, 'a callback got no 2xx answer for two minutes and was given up')
  }

  return {
    post,

    /** Resolves after the first try; further ones go on in the background. */
    async report(url: string, id: string, payload: object): Promise<void> {
      if (!(await attempt(url, id, payload))) void repeat(url, id, payload)
    },

    close: () => agent.destroy(),
  }
}
