import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Callbacks } from './callbacks'
import type { Message } from './message'

/** What the user dials to see a waiting code. */
export const serviceCode = '*920*1#'
const maxWaitingPerNumber = 20
const maxNumbers = 10_000

const Screen = z.object({ message: z.string(), code: z.string().nullish() })

export interface Dialled {
  /** What the phone's screen says. */
  message: string
  /** The code on the screen and the message that announced it, when one was waiting. */
  shown?: { code: string; message: Message }
}

/** Codes that wait to be dialled for, and the sessions in which they are shown. */
export class Ussd {
  private readonly waiting = new Map<string, { message: Message; until: number }[]>()

  constructor(
    private readonly callbacks: Callbacks,
    private readonly otpilotUrl: () => string,
  ) {}

  isWaiting(number: string): boolean {
    return this.alive(number).length > 0
  }

  holds(message: Message): boolean {
    return this.alive(message.to).some((held) => held.message === message)
  }

  clear() {
    this.waiting.clear()
  }

  /** Registers that a code waits; the phone shows nothing yet. */
  register(message: Message) {
    const until = Date.now() + message.valid_for_seconds * 1_000
    const held = [...this.alive(message.to), { message, until }].slice(-maxWaitingPerNumber)
    this.waiting.delete(message.to)
    this.waiting.set(message.to, held)
    const oldest = this.waiting.size > maxNumbers ? this.waiting.keys().next().value : undefined
    if (oldest !== undefined) this.waiting.delete(oldest)
  }

  /** Dials: the product is asked what the screen should say. */
  async dial(number: string, fallbackAccount: string): Promise<Dialled> {
    const message = this.alive(number).at(-1)?.message
    const account = message?.provider ?? fallbackAccount
    const id = randomUUID()
    const session = {
      session_id: id,
      phone_number: number,
      service_code: serviceCode,
      input: '',
    }
    try {
      const url = new URL(`/ussd/${account}/session`, this.otpilotUrl()).href
      const screen = Screen.parse(JSON.parse(await this.callbacks.post(url, id, session)))
      if (!message || !screen.code) return { message: screen.message }
      this.remove(message)
      return { message: screen.message, shown: { code: screen.code, message } }
    } catch {
      return { message: 'The service did not answer. Dial again.' }
    }
  }

  private alive(number: string) {
    return (this.waiting.get(number) ?? []).filter(({ until }) => until > Date.now())
  }

  private remove(message: Message) {
    const rest = this.alive(message.to).filter((held) => held.message !== message)
    if (rest.length > 0) this.waiting.set(message.to, rest)
    else this.waiting.delete(message.to)
  }
}
