import { Webhook } from 'standardwebhooks'
import { type Dispatcher, request } from 'undici'
import { randomId } from '../../codes/random-id'
import { signatureHeaders } from '../../codes/standard-webhook'
import { hookLimits } from '../../core/protection/hook'
import type { CallableHook } from '../../db/apps/pre-send-hooks'
import { faultOfUrl, type Reach } from '../../events/address'
import { faultOf, userAgent } from '../../events/post'
import { withoutNulls } from '../absent'
import { HookDecision } from '../contract/hooks'

/** Why a hook gave no usable answer, in our own words. */
export type HookFault = ReturnType<typeof faultOf> | 'not_2xx' | 'too_large' | 'not_an_answer'

/**
 * Calls a hook once, signed, and reads its answer; never throws for what it does, and is over within its time.
 * @throws {UnknownKey} where its secret cannot be opened
 */
export async function callHook(
  { dispatcher, reach }: { dispatcher: Dispatcher; reach: Reach },
  { url, secrets }: CallableHook,
  message: object,
): Promise<HookDecision | { fault: HookFault }> {
  const body = JSON.stringify(message)
  const webhooks = secrets().map((secret) => new Webhook(secret))
  // The address was checked when it was registered, perhaps by a process that was allowed more.
  if (faultOfUrl(url, reach) !== undefined) return { fault: 'address_refused' }
  try {
    const answer = await request(url, {
      dispatcher,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': userAgent,
        ...signatureHeaders(webhooks, { id: randomId('psh'), body }),
      },
      body,
      signal: AbortSignal.timeout(hookLimits.withinMs),
    })
    const text = await readAtMost(answer.body, hookLimits.answerBytes)
    if (answer.statusCode < 200 || answer.statusCode > 299) return { fault: 'not_2xx' }
    return text === undefined ? { fault: 'too_large' } : decisionIn(text)
  } catch (error) {
    return { fault: faultOf(error) }
  }
}

/** @returns undefined when there is more; the connection is given up then */
async function readAtMost(
  body: AsyncIterable<Buffer> & { destroy(): unknown },
  most: number,
): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > most) {
      body.destroy()
      return undefined
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function decisionIn(text: string): HookDecision | { fault: HookFault } {
  try {
    const { success, data } = HookDecision.safeParse(withoutNulls(HookDecision, JSON.parse(text)))
    return success ? data : { fault: 'not_an_answer' }
  } catch {
    return { fault: 'not_an_answer' }
  }
}
