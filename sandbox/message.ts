import { z } from 'zod'
import { type Channel, channels } from '../core/channel'
import type { Entry } from './inbox'
import type { Status } from './words'

/** The body of a send. */
export const SendBody = z.object({
  /** The sender's own id of this message. */
  reference: z.string().min(1).max(200),
  request_id: z.string().min(1).max(200).optional(),
  channel: z.enum(channels),
  to: z.string().max(254),
  text: z.string().max(10_000),
  code: z.string().max(32),
  locale: z.string().max(35).optional(),
  brand: z.string().max(200).optional(),
  callback_url: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .optional(),
  valid_for_seconds: z.int().min(0).max(86_400).default(300),
})

/** A message on its way: a send with its number in one form, its account and its id. */
export type Message = z.infer<typeof SendBody> & {
  id: string
  provider: string
  /** How its vendor reports it; without it, by the sandbox's own contract to `callback_url`. */
  report?: (status: Status, entry: Entry | undefined) => Promise<void>
}

export const OutcomeBody = z.object({ outcome: z.enum(['verified', 'not_verified']) })
/** What a person answers, as an account is told of it. */
export interface PersonsReply {
  /** The number as the network reports it. */
  from: string
  text: string
  /** Of the message that is answered. */
  channel: Channel
}

/** What the user of a phone answers. */
export const ReplyBody = z.object({
  text: z.string().trim().min(1).max(1_000),
  /** The phone's number as its network reports it, where that spells it otherwise. */
  from: z.string().min(1).max(40).optional(),
})
/** A dial; with `session_id`, an answer to its menu: `inputs` is all that was typed so far. */
export const DialBody = z.object({
  service_code: z.string().max(80),
  session_id: z.string().min(1).max(200).optional(),
  inputs: z.array(z.string().max(160)).max(20).default([]),
})
