/** Where on its way a message trips the wire. */
export interface Tripwire<Moment extends string> {
  /** What of the sender's bytes names the point. */
  match: RegExp
  moment: Moment
  /** Runs at once, before another byte moves. */
  spring: () => void
  /** The sender lives on: what it sent and what comes back is passed on as ever. */
  passOn?: boolean
}

/** Holds at most one wire, which trips once. */
export function createTrap<Moment extends string>() {
  let armed: { wire: Tripwire<Moment>; sprung: () => void } | undefined
  return {
    /** Takes the place of a wire that was not tripped. @returns a promise of this one being tripped. */
    arm(wire: Tripwire<Moment>): Promise<void> {
      return new Promise((resolve) => {
        armed = { wire, sprung: resolve }
      })
    },
    /** The wire that these bytes trip, taken off; the caller springs it at its moment. */
    take(bytes: string): (Tripwire<Moment> & { trip: () => void }) | undefined {
      const taken = armed
      if (!taken?.wire.match.test(bytes)) return undefined
      armed = undefined
      const trip = () => {
        taken.wire.spring()
        taken.sprung()
      }
      return { ...taken.wire, trip }
    },
  }
}
