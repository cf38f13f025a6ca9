import { Problem } from './problem'

/** Calls in flight per process below which none is refused for their number alone (security reference D7). */
export const inFlightLimits = { send: 200, verify: 500, search: 10 } as const
export type AdmissionKind = keyof typeof inFlightLimits

/** Sends that take longer mean that more of them at once would only wait for each other; milliseconds. */
const slowMs = 500
/** However slow: so few at once are never the cause of it. */
const fewest = 4
const cut = 0.7
/** A burst is carried: only what stays slow for longer makes less room. */
const patienceMs = 2_000

/** One call's place among those in flight. */
export interface Place {
  /**
   * Says whose call it is, once that is known.
   * @throws {Problem} OVERLOADED where the app has all of its share, and there is no room beyond.
   */
  claim(app: string): void
  /** From here until it is settled, the call waits for our own parts alone: how long tells how busy we are. */
  begin(): void
  settle(): void
  leave(): void
}

export interface Admission {
  /**
   * Counts a call in, until it leaves.
   * @throws {Problem} OVERLOADED at the limit, before any work is done.
   */
  enter(kind: AdmissionKind): Place
}

/** Separate counters, so that a flood of sends cannot keep people from having their codes checked. */
export function createAdmission(
  given: Partial<Record<AdmissionKind, number>> = {},
  now: () => number = () => performance.now(),
): Admission {
  const limits = { ...inFlightLimits, ...given }
  const rooms = {
    send: createRoom(limits.send, { slowAfter: slowMs, now }),
    verify: createRoom(limits.verify, { slowAfter: Infinity, now }),
    // Fewer than the pool has connections: what people look up must not hold up what users wait for.
    search: createRoom(limits.search, { slowAfter: Infinity, now }),
  }
  return { enter: (kind) => rooms[kind].enter() }
}

/**
 * Room for `most` calls, which apps share: one alone may have all of it; whoever has less than an equal part is let in
 * all the same, so that nobody is kept out by another's flood. While calls are slow there is less room: what would wait
 * for longer than a caller does is refused at once.
 */
function createRoom(
  most: number,
  { slowAfter, now }: { slowAfter: number; now: () => number },
): { enter: () => Place } {
  const inFlight = new Map<string, number>()
  let arrived = 0
  let claimed = 0
  const room = createSize(most, { slowAfter, now })

  return {
    enter() {
      // Twice: apps with less than their part may come on top of a full room.
      if (arrived >= most * 2) throw refusal()
      arrived++
      let app: string | undefined
      let begunAt: number | undefined
      return {
        claim(its) {
          // What was slow is over.
          if (claimed === 0) room.reset()
          const own = inFlight.get(its) ?? 0
          const apps = inFlight.size + (own === 0 ? 1 : 0)
          if (claimed >= room.size() && own >= room.size() / apps) throw refusal()
          app = its
          claimed++
          inFlight.set(its, own + 1)
        },
        begin() {
          begunAt = now()
        },
        settle() {
          if (begunAt !== undefined) room.learn(begunAt, claimed)
          begunAt = undefined
        },
        leave() {
          arrived--
          if (app === undefined) return
          // What failed fast tells nothing; what failed late does.
          if (begunAt !== undefined && now() - begunAt > slowAfter) room.learn(begunAt, claimed)
          claimed--
          const left = (inFlight.get(app) ?? 1) - 1
          if (left > 0) inFlight.set(app, left)
          else inFlight.delete(app)
        },
      }
    },
  }
}

/** How many calls there is room for, as far as the last ones tell. */
function createSize(most: number, { slowAfter, now }: { slowAfter: number; now: () => number }) {
  let room = most
  let lastCut = -Infinity
  let slowSince: number | undefined

  /** Slower than it should be: less room, once for all calls that were under way together. A quick one makes more. */
  const learn = (begunAt: number, claimed: number): void => {
    if (now() - begunAt <= slowAfter) {
      room = Math.min(room + 1, most)
      if (room === most) slowSince = undefined
      return
    }
    slowSince ??= now()
    if (now() - slowSince >= patienceMs && begunAt > lastCut) {
      room = Math.max(Math.floor(Math.min(room, claimed) * cut), Math.min(fewest, most))
      lastCut = now()
    }
  }

  return {
    learn,
    size: () => room,
    reset: () => {
      room = most
      slowSince = undefined
    },
  }
}

const refusal = () => new Problem('OVERLOADED', { retryAfterSeconds: 1 })
