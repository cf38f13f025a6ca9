import type { IncomingMessage } from 'node:http'
import { usualBodyBytes, readBody } from './json-body'
import { Problem } from './problem'

/** What callers that have proven nothing yet may hold of a process. */
const usualLimits = {
  /** Bytes of their bodies, all together. */
  bytes: 16 * 1024 * 1024,
  /** Bodies that one network is sending at a time; whoever calls through it with a key is not counted. */
  perNetwork: 32,
  /** Their calls that are being handled, those apart whose bodies are still to come. */
  calls: 500,
  /** From the first look at a body to its end, in milliseconds. */
  readMs: 5_000,
}

/** Of a body that is refused, and a connection that is kept: twice what the largest batch may be. */
const readOffBytes = 2 * 1024 * 1024

/** A body that is being sent. */
interface Sending {
  network: string | undefined
  /** What its call holds. */
  own: { bytes: number }
  cut(problem: Problem): void
}

/** One call of a caller that has proven nothing yet. */
export interface OpenCall {
  /**
   * @param limit the most bytes that are taken
   * @param network whom it counts for; undefined: a proxy, which brings many callers
   * @throws {Problem} PAYLOAD_TOO_LARGE, REQUEST_TIMEOUT, or OVERLOADED when it has to make room
   */
  read(request: IncomingMessage, limit: number, network: string | undefined): Promise<Buffer>
  leave(): void
}

/**
 * Room for the calls and the bodies of callers that have proven nothing yet: providers' callbacks, and whoever writes
 * to the same addresses. Where it ends, the oldest unfinished body of the network that holds the most makes room: a
 * genuine one is there within milliseconds.
 */
export class OpenBodies {
  /** By age, since a set keeps its order. */
  private readonly sending = new Set<Sending>()
  private held = 0
  private calls = 0

  constructor(private readonly limits = usualLimits) {}

  enter(): OpenCall {
    if (this.calls >= this.limits.calls) throw overloaded()
    this.calls++
    const own = { bytes: 0 }
    return {
      read: (request, limit, network) => this.read(own, { request, limit, network }),
      leave: () => {
        this.held -= own.bytes
        own.bytes = 0
        this.calls--
      },
    }
  }

  private async read(
    own: { bytes: number },
    {
      request,
      limit,
      network,
    }: { request: IncomingMessage; limit: number; network?: string | undefined },
  ): Promise<Buffer> {
    const stopping = new AbortController()
    const one: Sending = {
      network,
      own,
      cut: (problem) => {
        this.sending.delete(one)
        this.held -= own.bytes
        own.bytes = 0
        stopping.abort(problem)
      },
    }
    if (network !== undefined) this.makePlace(network)
    this.sending.add(one)
    this.calls--
    const tooLate = setTimeout(() => one.cut(new Problem('REQUEST_TIMEOUT')), this.limits.readMs)
    try {
      return await readBody(request, limit, {
        signal: stopping.signal,
        grew: (bytes) => {
          own.bytes += bytes
          this.held += bytes
          this.makeRoom()
        },
      })
    } catch (error) {
      // Not read off either: see `leavesBody`.
      if (limit <= usualBodyBytes) request.pause()
      else if (request.readableFlowing) this.readOff(request)
      throw error
    } finally {
      clearTimeout(tooLate)
      this.sending.delete(one)
      this.calls++
    }
  }

  /** What was refused is dropped as it comes, so that the caller gets to the answer; not for ever, though. */
  private readOff(request: IncomingMessage): void {
    let left = readOffBytes
    request.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) request.destroy()
    })
    const tooLate = setTimeout(() => request.destroy(), this.limits.readMs).unref()
    request.once('close', () => clearTimeout(tooLate))
  }

  private makePlace(network: string): void {
    const same = [...this.sending].filter((one) => one.network === network)
    if (same.length >= this.limits.perNetwork) same[0]?.cut(overloaded())
  }

  private makeRoom(): void {
    while (this.held > this.limits.bytes) {
      const byNetwork = Map.groupBy(this.sending, ({ network }) => network)
      const [worst] = [...byNetwork.values()].toSorted((one, other) => sumOf(other) - sumOf(one))
      if (!worst?.[0]) return
      worst[0].cut(overloaded())
    }
  }
}

const sumOf = (bodies: readonly Sending[]) => bodies.reduce((sum, { own }) => sum + own.bytes, 0)

const overloaded = () => new Problem('OVERLOADED', { retryAfterSeconds: 1 })

/**
 * Whether a call that is refused leaves so much of its body unread that the connection is not worth keeping: beyond
 * what any known caller sends, nothing of a body is read that nobody wants.
 */
export function leavesBody({ complete, readableFlowing, headers }: IncomingMessage): boolean {
  // What flows is read off, so that the caller gets to the answer.
  if (complete || readableFlowing === true) return false
  const isShort = Number(headers['content-length'] ?? Infinity) <= usualBodyBytes
  return readableFlowing === false || !isShort
}
