import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Callbacks } from './callbacks'
import type { Message } from './message'
import { codeIn, type UssdService } from './vendors/vendor'

/** What the user dials to see a waiting code of the sandbox's own accounts. */
export const serviceCode = '*920*1#'
/** Asked when a number dials that never got anything. */
export const firstAccount = 'sandbox-a'
const maxWaitingPerNumber = 20
const maxNumbers = 10_000
const maxAccounts = 10
const maxSessions = 1_000

const Screen = z.object({
  message: z.string(),
  code: z.string().nullish(),
  end: z.boolean().default(true),
})

/** What was dialled, and what was typed in the session so far. */
export interface Dialling {
  number: string
  serviceCode: string
  /** Absent for a new session. */
  sessionId?: string | undefined
  inputs: string[]
}

export interface Dialled {
  /** What the phone's screen says. */
  message: string
  /** False where it asks for something: the session goes on. */
  ends: boolean
  sessionId: string
  /** The code on the screen, and whose it is. */
  shown?: { code: string; provider: string }
}

/** A vendor's service code. */
export interface VendorService {
  provider: string
  service: UssdService
}

/** Codes that wait to be dialled for, and the sessions in which they are shown. */
export class Ussd {
  private readonly waiting = new Map<string, { message: Message; until: number }[]>()
  /** The sandbox's own accounts: they share one service code. */
  private readonly accounts = new Set([firstAccount])
  /** Which account a session that goes on is with. */
  private readonly sessions = new Map<string, string>()

  constructor(
    private readonly callbacks: Callbacks,
    private readonly otpilotUrl: () => string,
    private readonly vendorServices: () => readonly VendorService[],
  ) {}

  /** What can be dialled. */
  serviceCodes(): string[] {
    return [serviceCode, ...this.vendorServices().map(({ service }) => service.serviceCode)]
  }

  isWaiting(number: string): boolean {
    return this.alive(number).length > 0
  }

  holds(message: Message): boolean {
    return this.alive(message.to).some((held) => held.message === message)
  }

  clear() {
    this.waiting.clear()
    this.sessions.clear()
  }

  /** An account that sends by the sandbox's own contract. */
  know(account: string) {
    if (this.accounts.size < maxAccounts) this.accounts.add(account)
  }

  /** Registers that a code waits; the phone shows nothing yet. */
  register(message: Message) {
    const until = Date.now() + message.valid_for_seconds * 1_000
    const held = [...this.alive(message.to), { message, until }].slice(-maxWaitingPerNumber)
    this.waiting.delete(message.to)
    this.waiting.set(message.to, held)
    dropOldest(this.waiting, maxNumbers)
  }

  /** @returns the message that announced this code, which does not wait any longer. */
  take(number: string, code: string): Message | undefined {
    const held = this.alive(number)
    const message = held.find((one) => one.message.code === code)?.message
    const rest = held.filter((one) => one.message !== message)
    if (rest.length > 0) this.waiting.set(number, rest)
    else this.waiting.delete(number)
    return message
  }

  /** Dials, or goes on with a session: the product is asked what the screen should say. */
  async dial(dialling: Dialling): Promise<Dialled> {
    const dialled = dialling.serviceCode.replace(/\s/g, '')
    const sessionId = dialling.sessionId ?? randomUUID()
    try {
      for (const offered of this.vendorServices()) {
        const extension = extensionOf(dialled, offered.service.serviceCode)
        if (!extension) continue
        const inputs = [...extension, ...dialling.inputs]
        return await vendorScreen(offered, { id: sessionId, number: dialling.number, inputs })
      }
      const extension = extensionOf(dialled, serviceCode)
      if (!extension) {
        const message = `Unknown code. Dial ${this.serviceCodes().join(' or ')}.`
        return { message, ends: true, sessionId }
      }
      const inputs = [...extension, ...dialling.inputs]
      return await this.ownScreen({ ...dialling, inputs, sessionId })
    } catch {
      return { message: 'The service did not answer. Dial again.', ends: true, sessionId }
    }
  }

  /** Of the accounts that share the service code, the first that has something for the number. */
  private async ownScreen(dialling: Dialling & { sessionId: string }): Promise<Dialled> {
    const { number, sessionId, inputs } = dialling
    const known = this.sessions.get(sessionId)
    const [newest] = this.alive(number).toReversed()
    const asked = [...(newest ? [newest.message.provider] : []), ...this.accounts]
    let last: Dialled | undefined
    for (const account of new Set(known === undefined ? asked : [known])) {
      const session = {
        session_id: sessionId,
        phone_number: number,
        service_code: serviceCode,
        input: inputs.join('*'),
      }
      const url = new URL(`/ussd/${account}/session`, this.otpilotUrl()).href
      const { message, code, end } = Screen.parse(
        JSON.parse(await this.callbacks.post(url, randomUUID(), session)),
      )
      const shown = code ? { shown: { code, provider: account } } : {}
      last = { message, ends: end, sessionId, ...shown }
      if (!end) this.sessions.set(sessionId, account)
      dropOldest(this.sessions, maxSessions)
      if (code || !end) break
    }
    return last ?? { message: 'Nobody serves this code.', ends: true, sessionId }
  }

  private alive(number: string) {
    return (this.waiting.get(number) ?? []).filter(({ until }) => until > Date.now())
  }
}

/** The digit that answers a list of brands; the first of them where none is this one. */
export const choiceOf = (screen: string, brand: string | undefined): string =>
  screen
    .split('\n')
    .map((line) => /^(\d) (.*)$/.exec(line))
    .find((line) => line !== null && line[2] === brand)?.[1] ?? '1'

/** As on real networks, what follows the service code is the first input: `*920*1*2#`. Undefined for another code. */
function extensionOf(dialled: string, service: string): string[] | undefined {
  if (dialled === service) return []
  const begin = `${service.slice(0, -1)}*`
  if (!dialled.startsWith(begin) || !dialled.endsWith('#')) return undefined
  return dialled.slice(begin.length, -1).split('*')
}

async function vendorScreen(
  { provider, service }: VendorService,
  session: Parameters<UssdService['screen']>[0],
): Promise<Dialled> {
  const { text, ends } = await service.screen(session)
  const code = ends ? codeIn(text) : ''
  const shown = code === '' ? {} : { shown: { code, provider } }
  return { message: text, ends, sessionId: session.id, ...shown }
}

function dropOldest(kept: Map<string, unknown>, most: number) {
  const oldest = kept.size > most ? kept.keys().next().value : undefined
  if (oldest !== undefined) kept.delete(oldest)
}
