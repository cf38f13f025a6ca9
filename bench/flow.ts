import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { System } from './system'

export interface Message {
  channel: string
  to: string
  code: string
  at: string
  status: string
  request_id?: string
}

/** How long the parts of one flow took, in milliseconds. */
export interface FlowTimes {
  send: number
  /** From the answer to the send until the phone shows the message as delivered. */
  delivery: number
  verify: number
  /** From the answer to the verify until the run has closed. */
  close: number
}

export interface Caller {
  post: (path: string, body?: object) => Promise<{ status: number; body: Record<string, unknown> }>
  /**
   * Posts until the answer has this status. Overload and outages are waited out, as the API asks for.
   * @throws for any other answer
   */
  insist: (path: string, body: object, status: string) => Promise<Record<string, unknown>>
  /** Answers of overload or outage so far, by status and code. */
  refusals: readonly string[]
  /** A valid number that nobody used before; the limit per recipient never meets it. */
  freshPhone: () => string
  /** Resolves with the message once the phone shows it as delivered. */
  delivered: (requestId: string) => Promise<Message>
  /** One whole OTP: send, read the phone, verify, run closed. */
  flow: () => Promise<FlowTimes & { requestId: string }>
  close: () => Promise<void>
}

/** Rarely and little, or the sandbox would be busy with answering us. */
const lookEveryMs = 50
/** More than usually become delivered between two looks. */
const newest = 150
/** All that the sandbox keeps. */
const everything = 10_000
const looksPerFull = 100
const patienceMs = 60_000
/** What the API says in Retry-After. */
const comeBackMs = 1_000

/** The integrating service of a benchmark: HTTP over kept-alive connections, and one reader of the inbox for all. */
export function createCaller({ url, sandboxUrl, key, temporal }: System): Caller {
  const agent = new Agent({ connections: 128, keepAliveTimeout: 30_000 })
  const inbox = readInbox(sandboxUrl, agent)
  const refusals: string[] = []
  let phones = 0

  const post: Caller['post'] = async (path, body) => {
    const answer = await request(url + path, {
      method: 'POST',
      dispatcher: agent,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    })
    return { status: answer.statusCode, body: (await answer.body.json()) as Answer }
  }
  const insist: Caller['insist'] = async (path, body, status) => {
    for (;;) {
      const answer = await post(path, body)
      if (answer.status === 200 && answer.body.status === status) return answer.body
      const mayComeBack = answer.body.error_code === 'OVERLOADED' || answer.status === 503
      if (!mayComeBack)
        throw new Error(`${path} answered ${answer.status} ${JSON.stringify(answer.body)}`)
      refusals.push(`${answer.status} ${String(answer.body.error_code)}`)
      await sleep(comeBackMs)
    }
  }
  const freshPhone = () => `+23324${String(2_000_000 + ++phones)}`

  return {
    post,
    insist,
    refusals,
    freshPhone,
    delivered: inbox.delivered,
    close: async () => {
      await inbox.close()
      await agent.close()
    },
    async flow() {
      const phone = freshPhone()
      const lap = stopwatch()
      const { request_id } = await insist('/otp/send', { phone_number: phone }, 'sent')
      const requestId = String(request_id)
      const send = lap()
      const { code } = await inbox.delivered(requestId)
      const delivery = lap()
      await insist('/otp/verify', { phone_number: phone, code }, 'verified')
      const verify = lap()
      await temporal.workflow.getHandle(requestId).result()
      return { requestId, send, delivery, verify, close: lap() }
    },
  }
}

type Answer = Record<string, unknown>

/** Milliseconds since it was asked last. */
export function stopwatch(): () => number {
  let last = performance.now()
  return () => {
    const now = performance.now()
    const lap = now - last
    last = now
    return lap
  }
}

/** Fifty callers who each ask for their own message would measure the sandbox: one reader asks for all. */
function readInbox(sandboxUrl: string, agent: Agent) {
  const waiting = new Map<string, (message: Message) => void>()
  const stopping = new AbortController()
  const look = async (limit: number) => {
    const answer = await request(`${sandboxUrl}/inbox?limit=${limit}`, { dispatcher: agent })
    for (const message of (await answer.body.json()) as Message[]) {
      if (message.status === 'accepted') continue
      waiting.get(message.request_id ?? '')?.(message)
    }
  }
  const reading = (async () => {
    for (let looks = 1; !stopping.signal.aborted; looks++) {
      // Now and then at everything: what came late has sunk below the newest.
      if (waiting.size > 0) await look(looks % looksPerFull === 0 ? everything : newest)
      await sleep(lookEveryMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  })()
  return {
    delivered: (requestId: string) =>
      new Promise<Message>((resolve, reject) => {
        const end = () => {
          clearTimeout(timer)
          waiting.delete(requestId)
        }
        const timer = setTimeout(() => {
          end()
          reject(new Error(`No delivered message for ${requestId} in ${patienceMs / 1000} s.`))
        }, patienceMs)
        waiting.set(requestId, (message) => {
          end()
          resolve(message)
        })
      }),
    close: () => {
      stopping.abort()
      return reading
    },
  }
}
