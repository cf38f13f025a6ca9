import type { Entry } from './inbox'
import type { Message } from './message'
import type { Timers } from './timers'

/** A phone that nobody picks up stops ringing. */
const ringForMs = 45_000

/** A ringing call. */
export interface Call {
  message: Message
  entry: Entry
  /** Somebody would have picked up by now, but the page has the phone in hand. */
  held: boolean
}

/** The calls that ring right now. */
export class Calls {
  private readonly ringing = new Map<string, Call>()

  constructor(
    private readonly timers: Timers,
    private readonly onChange: (number: string) => void,
  ) {}

  ring(message: Message, entry: Entry, onUnanswered: () => void) {
    this.ringing.set(message.id, { message, entry, held: false })
    this.onChange(message.to)
    this.timers.after(ringForMs, () => {
      if (this.end(message.id)?.held) onUnanswered()
    })
  }

  /** @returns whether the call rings, and so waits for the page. */
  hold(id: string): boolean {
    const call = this.ringing.get(id)
    if (call) call.held = true
    return call !== undefined
  }

  /** @returns the call, when it was ringing. */
  end(id: string): Call | undefined {
    const call = this.ringing.get(id)
    if (!call) return undefined
    this.ringing.delete(id)
    this.onChange(call.entry.to)
    return call
  }

  of(number: string): Call[] {
    return [...this.ringing.values()].filter(({ entry }) => entry.to === number)
  }

  clear() {
    this.ringing.clear()
  }
}
