import type { Server } from 'node:http'
import type { AddressInfo, Server as SocketServer } from 'node:net'

/** Listens on a free port of 127.0.0.1. @returns its address, as http */
export async function listen(server: SocketServer): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Closes a server without waiting for those who are connected. */
export async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}
