import { createServer, type IncomingHttpHeaders } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { closeServer, listen } from './listening'

export interface ReceivedEvent {
  path: string
  headers: IncomingHttpHeaders
  /** The bytes that came in, which the signature is over. */
  raw: string
  body: Record<string, unknown> & { type: string; request_id: string | null }
  at: number
}

export interface Answer {
  status?: number
  headers?: Record<string, string>
  body?: string
  /** Milliseconds before it answers. */
  after?: number
}

/** A service that is told of events; it answers as the test wants. */
export async function startReceiver(answer: (event: ReceivedEvent) => Answer = () => ({})) {
  const received: ReceivedEvent[] = []
  let answerOf = answer
  let open = 0
  let mostOpen = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => void chunks.push(chunk))
    request.on('end', () => {
      const raw = Buffer.concat(chunks).toString()
      const event: ReceivedEvent = {
        path: request.url ?? '',
        headers: request.headers,
        raw,
        body: JSON.parse(raw) as ReceivedEvent['body'],
        at: Date.now(),
      }
      received.push(event)
      mostOpen = Math.max(mostOpen, ++open)
      const { status = 200, headers, body = '{"received":true}', after = 0 } = answerOf(event)
      void pause(after, undefined, { ref: false }).then(() => {
        open--
        response.writeHead(status, headers).end(body)
      })
    })
  })
  const url = await listen(server)
  return {
    url,
    received,
    of: (requestId: string, type?: string) =>
      received.filter(
        ({ body }) => body.request_id === requestId && (type === undefined || body.type === type),
      ),
    answer: (given: (event: ReceivedEvent) => Answer) => void (answerOf = given),
    /** The most calls that were open at a time. */
    mostOpen: () => mostOpen,
    close: () => closeServer(server),
  }
}
export type Receiver = Awaited<ReturnType<typeof startReceiver>>
