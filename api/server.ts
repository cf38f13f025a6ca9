import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ErrorCode } from '../core/error-code'
import { Problem } from './problem'
import { randomBytes } from 'node:crypto'

/** Slow or silent callers are let go (security reference B7); times in milliseconds. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 65_000,
}
const maxConnections = 5_000

/** An HTTP server whose every refusal is a problem, those of Node's parser included. */
export function createHttpServer(listener: RequestListener): Server {
  const server = createServer({ ...limits }, listener)
  server.maxConnections = maxConnections
  server.on('clientError', refuse)
  return server
}

const codeOf: Record<string, ErrorCode> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
}

function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const code = codeOf[error.code ?? ''] ?? 'INVALID_REQUEST'
  const problem = new Problem(
    code,
    code === 'INVALID_REQUEST' ? { detail: 'This is not valid HTTP.' } : {},
  )
  const body = JSON.stringify(problem.toBody(randomBytes(16).toString('hex')))
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      'Content-Type: application/problem+json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Cache-Control: no-store',
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}
