import { randomBytes } from 'node:crypto'
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ErrorCode } from '../core/error-code'
import type { Certificate } from './certificate'
import { createPeers, type Peers } from './client-address'
import { Problem } from './problem'

/**
 * Slow or silent callers are let go (security reference B7), all of them within 20 s; times in milliseconds.
 * The header that every call must have is checked where its refusal is a problem: see `app.ts`.
 */
const options = {
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 65_000,
  requireHostHeader: false,
}
/** A caller who takes nothing of an answer for so long is gone; longer than the longest wait for news. */
const stalledMs = 90_000
const lingerMs = 1_000
const maxConnections = 5_000
/** What one network may hold of them, so that it cannot keep the others out; proxies bring many callers. */
const maxConnectionsOfPeer = 2_000

export interface ServerOptions {
  /** With one, the port speaks TLS, and plain HTTP too, so that such callers can be told. */
  certificate?: Certificate | undefined
  peers?: Peers
}

/** An HTTP server whose every refusal is a problem, those of Node's parser included. */
export function createHttpServer(
  listener: RequestListener,
  { certificate, peers = createPeers(undefined) }: ServerOptions = {},
): Server {
  const server = certificate
    ? createBilingualServer(listener, certificate)
    : createServer(options, listener)
  server.maxConnections = maxConnections
  server.timeout = stalledMs
  limitPeers(server, peers)
  server.on('clientError', refuse)
  // The application refuses what it cannot meet.
  server.on('checkExpectation', listener)
  server.on('connect', (_request, socket: Duplex) => {
    const headers = { Allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' }
    writeProblem(socket, new Problem('METHOD_NOT_ALLOWED', { headers }))
  })
  return server
}

const tlsHandshake = 0x16

/** One port for both: the first byte of a connection tells a TLS handshake from a plain call. */
function createBilingualServer(listener: RequestListener, certificate: Certificate): Server {
  const tls = { minVersion: 'TLSv1.2', handshakeTimeout: options.headersTimeout } as const
  const { cert, key } = certificate.current()
  const server = createTlsServer({ ...options, ...tls, cert, key }, listener)
  certificate.onRenewal((renewed) =>
    server.setSecureContext({ minVersion: tls.minVersion, cert: renewed.cert, key: renewed.key }),
  )
  const shakeHands = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    const tooLate = setTimeout(() => socket.destroy(), options.headersTimeout)
    socket.once('error', () => socket.destroy()).once('close', () => clearTimeout(tooLate))
    socket.once('data', (first: Buffer) => {
      clearTimeout(tooLate)
      socket.pause()
      socket.unshift(first)
      if (first[0] === tlsHandshake) for (const shake of shakeHands) shake.call(server, socket)
      // What Node emits after the handshake: a connection that speaks HTTP.
      else server.emit('secureConnection', socket)
      process.nextTick(() => socket.resume())
    })
  })
  return server
}

function limitPeers(server: Server, peers: Peers): void {
  const open = new Map<string, number>()
  server.prependListener('connection', (socket: Socket) => {
    if (peers.isProxy(socket)) return
    const { network } = peers.peerOf(socket)
    const count = (open.get(network) ?? 0) + 1
    if (count > maxConnectionsOfPeer) {
      socket.destroy()
      return
    }
    open.set(network, count)
    socket.once('close', () => {
      const left = (open.get(network) ?? 1) - 1
      if (left > 0) open.set(network, left)
      else open.delete(network)
    })
  })
}

const codeOf: Record<string, ErrorCode> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
}

function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  const code = error.code ?? ''
  const isHttp = code.startsWith('HPE_') || code.startsWith('ERR_HTTP_')
  if (!isHttp || !socket.writable) return void socket.destroy()
  const known = codeOf[code]
  writeProblem(
    socket,
    known
      ? new Problem(known)
      : new Problem('INVALID_REQUEST', { detail: 'This is not valid HTTP.' }),
  )
}

/** Answers without the application: the caller never got as far as a request. */
function writeProblem(socket: Duplex, problem: Problem): void {
  const traceId = randomBytes(16).toString('hex')
  const body = JSON.stringify(problem.toBody(traceId))
  const headers = {
    'Content-Type': 'application/problem+json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'X-Trace-Id': traceId,
    ...problem.headers,
    Connection: 'close',
  }
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      '',
      body,
    ].join('\r\n'),
    // Time to read the answer, not to hold the connection.
    () => setTimeout(() => socket.destroy(), lingerMs).unref(),
  )
}
