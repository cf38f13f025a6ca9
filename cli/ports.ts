import { createServer } from 'node:net'

const listen = (port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(address && typeof address === 'object' ? address.port : port))
    })
  })

export const isFree = (port: number): Promise<boolean> =>
  listen(port).then(
    () => true,
    () => false,
  )

/** A port that nobody listens on at this moment. */
export const freePort = (): Promise<number> => listen(0)

/** Throws one sentence that names every busy port and the variable that moves it. */
export const assertFree = async (ports: Record<string, number>): Promise<void> => {
  const busy: string[] = []
  for (const [variable, port] of Object.entries(ports))
    if (!(await isFree(port))) busy.push(`port ${port} (set ${variable} to another one)`)
  if (busy.length > 0)
    throw new Error(`Already in use on 127.0.0.1: ${busy.join(', ')}; or stop what listens there.`)
}
