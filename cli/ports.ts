import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

export const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => resolve(true))
    })
  })

/** Below every system's range for outgoing connections, one of which could take the port before it is used. */
const range = { first: 15_000, last: 31_999 }
const given = new Set<number>()

/** A port that nobody listens on at this moment, and that this process was not given before. */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(range.first, range.last + 1)
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
}

/** Throws one sentence that names every busy port and the variable that moves it. */
export const assertFree = async (ports: Record<string, number>): Promise<void> => {
  const busy: string[] = []
  for (const [variable, port] of Object.entries(ports))
    if (!(await isFree(port))) busy.push(`port ${port} (set ${variable} to another one)`)
  if (busy.length > 0)
    throw new Error(`Already in use on 127.0.0.1: ${busy.join(', ')}; or stop what listens there.`)
}
