import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { closeServer, listen } from './listening'
import { createTrap, type Tripwire } from './tripwire'

/** Around one provider call: nothing of it went out; it was taken; its answer was handed back. */
export type CallMoment = 'before' | 'taken' | 'answered'

/** Stands between a worker and the sandbox; faults can be placed around a provider call. */
export async function createProviderProxy(sandboxUrl: string) {
  const trap = createTrap<CallMoment>()
  const paths: string[] = []

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request)
    paths.push(request.url ?? '')
    const wire = trap.take(`${request.url} ${body.toString('utf8')}`)
    const trip = () => {
      wire?.trip()
      if (!wire?.passOn) request.socket.destroy()
    }
    if (wire?.moment === 'before') trip()
    if (request.socket.destroyed) return
    const { authorization = '', 'content-type': type = '' } = request.headers
    const answer = await fetch(sandboxUrl + (request.url ?? ''), {
      method: request.method ?? 'POST',
      headers: { authorization, 'content-type': type },
      body: new Uint8Array(body),
    })
    const text = await answer.text()
    if (wire?.moment === 'taken') trip()
    if (request.socket.destroyed) return
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(text, () => {
      if (wire?.moment === 'answered') trip()
    })
  }

  const server = createServer((request, response) => {
    // A sandbox that breaks the connection is passed on as such.
    pass(request, response).catch(() => request.socket.destroy())
  })
  const url = await listen(server)
  return {
    url,
    /** Of every call that came through, in order. */
    paths: paths as readonly string[],
    arm: (wire: Tripwire<CallMoment>) => trap.arm(wire),
    close: () => closeServer(server),
  }
}
