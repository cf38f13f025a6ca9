import { type Dispatcher, request } from 'undici'
import { version } from '../package.json'
import { AddressRefused, faultOfUrl, type Reach } from './address'

/** How this service names itself to those that others chose. */
export const userAgent = `otpilot/${version}`

/** The spec's least patience with a receiver, over everything from the look-up to the answer's head. */
const answerWithinMs = 15_000
/** What a receiver may say; nobody reads it, but a connection whose answer was not taken is lost. */
const maxAnswerBytes = 64 * 1024

/** Why there was no answer, in our own words. */
export type PostFault =
  | 'address_refused'
  | 'name_not_found'
  | 'connection_refused'
  | 'connection_broken'
  | 'certificate_refused'
  | 'timed_out'
  | 'stopped'

export interface PostResult {
  milliseconds: number
  httpStatus?: number
  fault?: PostFault
}

export interface Post {
  url: string
  headers: Record<string, string>
  body: string
}

/** Posts JSON once and tells how it was received; never throws. `signal` gives it up before its time. */
export async function post(
  { dispatcher, reach }: { dispatcher: Dispatcher; reach: Reach },
  { url, headers, body }: Post,
  signal?: AbortSignal,
): Promise<PostResult> {
  const since = performance.now()
  const timeout = AbortSignal.timeout(answerWithinMs)
  const outcome = async (): Promise<Omit<PostResult, 'milliseconds'>> => {
    // The address was checked when it was registered, perhaps by a process that was allowed more.
    if (faultOfUrl(url, reach) !== undefined) return { fault: 'address_refused' }
    try {
      const answer = await request(url, {
        dispatcher,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': userAgent,
          ...headers,
        },
        body,
        signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
      })
      await answer.body.dump({ limit: maxAnswerBytes }).catch(() => undefined)
      return { httpStatus: answer.statusCode }
    } catch (error) {
      return { fault: signal?.aborted ? 'stopped' : faultOf(error) }
    }
  }
  return { ...(await outcome()), milliseconds: Math.round(performance.now() - since) }
}

export const isReceived = ({ httpStatus = 0 }: PostResult): boolean =>
  httpStatus >= 200 && httpStatus < 300

/** The receiver wants no more events, ever. */
export const isGone = ({ httpStatus }: PostResult): boolean => httpStatus === 410

const certificateFault = /CERT|^ERR_(TLS|SSL)|^UNABLE_TO_|SELF_SIGNED|^EPROTO$/

/** What a call that threw failed by. */
export function faultOf(error: unknown): PostFault {
  if (error instanceof AddressRefused) return 'address_refused'
  const { name, code } = error as { name?: string; code?: unknown }
  const text = typeof code === 'string' ? code : ''
  if (name === 'TimeoutError' || text.endsWith('_TIMEOUT') || text === 'ETIMEDOUT')
    return 'timed_out'
  if (text === 'ENOTFOUND' || text === 'EAI_AGAIN') return 'name_not_found'
  if (text === 'ECONNREFUSED') return 'connection_refused'
  if (certificateFault.test(text)) return 'certificate_refused'
  return 'connection_broken'
}
