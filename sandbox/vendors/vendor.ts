import { randomUUID } from 'node:crypto'
import type { Response, Router } from 'express'
import type { Channel } from '../../core/channel'
import type { Carrier } from '../carrier'
import type { Callbacks, Delivery } from '../callbacks'
import type { Entry } from '../inbox'
import type { PersonsReply } from '../message'
import type { Verdict } from '../scenario'
import type { Scenarios } from '../scenarios'
import type { Timers } from '../timers'
import type { Status } from '../words'

/** A message as a vendor's API was given it. */
export interface VendorMessage {
  /** The account that scenarios and the inbox know it by: the vendor's name. */
  provider: string
  channel: Channel
  /** E.164 with `+`, or an e-mail address. */
  to: string
  text: string
  /** Where the text does not hold it in a form that {@link codeIn} finds. */
  code?: string | undefined
  validForSeconds?: number | undefined
}

/** What a message came on and its answer goes to: an HTTP answer, or a connection. */
export interface Line {
  on(event: 'close', then: () => void): unknown
  destroy(): unknown
}

/** How a vendor answers and reports one message, in its own format. */
export interface Playing<Answer extends Line = Response> {
  /** The message's id in the vendor's form. */
  id: string
  accept(res: Answer): void
  /** The vendor has the message from here on, whatever becomes of its answer. */
  taken?(): void
  /** `errorCode` INVALID_NUMBER and BLOCKED have codes of the vendor's own; others are a plain HTTP status. */
  refuse(
    res: Answer,
    refusal: { status: number; errorCode: string; retryAfterSeconds?: number },
  ): void
  /** Tells the product; a call may change what the entry says once it is answered. Resolves after the first try. */
  report?(status: Status, entry: Entry | undefined): Promise<void>
}

/** A USSD service code, and what dialling it shows. */
export interface UssdService {
  serviceCode: string
  /** Asks the product; `inputs` is what was typed in this session so far. */
  screen(session: {
    id: string
    number: string
    inputs: string[]
  }): Promise<{ text: string; ends: boolean }>
}

/** What a vendor's fake is given. */
export interface VendorParts {
  /** As the product's account has them: the variables without the account's prefix. */
  settings: Readonly<Record<string, string | undefined>>
  productUrl: () => string
  /** The HTTP status of health checks while a scenario lets all sends of the vendor fail; else undefined. */
  outage: () => number | undefined
  timers: Timers
  /** Plays one message by the scenarios: answers `res`, shows it on its phone, has it reported. */
  play<Answer extends Line>(
    res: Answer,
    message: VendorMessage,
    playing: Playing<Answer>,
  ): Promise<void>
  /** One call to the product; @returns the body of a 2xx answer, @throws for any other. */
  call(delivery: Delivery): Promise<string>
  /** The same, repeated for two minutes until it is taken; resolves after the first try. */
  deliver(delivery: Delivery): Promise<void>
}

/** A fake of one provider: checks requests as the real one does, and answers and calls back in its formats. */
export interface Vendor {
  /** Part of its address: `/vendors/{name}`; the prefix of its settings is that of an account of this name. */
  name: string
  /** Settings with which the product's account of this name reaches the fake at `base`. */
  settings(base: string): Record<string, string>
  /** Path of its health check, which fails while its sends do; without it the vendor sees to that itself. */
  health?: string
  /** Reads its own bodies: forms, JSON or raw. */
  routes(parts: VendorParts): Router
  ussd?(parts: VendorParts): UssdService | undefined
  /** For services that are not reached by HTTP: listens, if the settings say where; `ready` rejects with one sentence. */
  listen?(parts: VendorParts): { ready: Promise<void>; close(): Promise<void> } | undefined
  /** A person answers a message of the vendor's; @throws when the product did not take it. */
  reply?(parts: VendorParts, reply: PersonsReply): Promise<unknown>
}

/** A setting that is a list separated by commas; what the product takes it for where it is not set. */
export const listed = (setting: string | undefined, usual: string): string[] =>
  (setting ?? usual).split(',').map((part) => part.trim())

/** The code in a text: digits, also spaced as for a voice, or else capitals with a digit among them. */
export function codeIn(text: string): string {
  const digits = /(?<!\w)\d(?:[ ,.]{0,2}\d){3,9}(?!\w)/.exec(text)?.[0]
  const spaced = digits ?? /(?<!\w)[A-Z0-9](?:,? [A-Z0-9]){5,9}(?!\w)/.exec(text)?.[0]
  const found = spaced ?? /\b(?=[A-Z0-9]*\d)[A-Z0-9]{6,10}\b/.exec(text)?.[0] ?? ''
  return found.replace(/[ ,.]/g, '')
}

interface PlayParts {
  carrier: Carrier
  scenarios: Scenarios
  timers: Timers
  /** Sends that are never answered. */
  hanging: Set<Line>
}

/** Makes {@link VendorParts.play}. */
export const playWith =
  ({ carrier, scenarios, timers, hanging }: PlayParts): VendorParts['play'] =>
  async (res, { provider, channel, to, text, code, validForSeconds = 300 }, playing) => {
    const verdict: Verdict = scenarios.decide({ provider, channel, to })
    const message = {
      ...{ provider, channel, to, text, id: playing.id, code: code ?? codeIn(text) },
      reference: randomUUID(),
      valid_for_seconds: validForSeconds,
      ...(playing.report && { report: playing.report.bind(playing) }),
    }
    await timers.wait(verdict.latencyMs)
    const { answer } = verdict
    if (answer.kind === 'refuse') return playing.refuse(res, answer)
    if (answer.kind === 'hang') {
      hanging.add(res)
      return void res.on('close', () => hanging.delete(res))
    }
    const receipts = carrier.accept(message, verdict.receipts)
    playing.taken?.()
    if (verdict.receiptsFirst && answer.kind === 'accept') await receipts.playNow()
    else receipts.schedule()
    if (answer.kind === 'drop') return void res.destroy()
    playing.accept(res)
  }

/** Makes {@link VendorParts.call} and {@link VendorParts.deliver}. */
export const callsWith = ({ call, deliver }: Callbacks): Pick<VendorParts, 'call' | 'deliver'> => ({
  call,
  deliver,
})
