import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { reachesNobody } from '../../core/protection/number'
import {
  modeFor,
  type ProtectionPolicy,
  protectionOf,
  usualDomainCap,
  usualMessageCap,
} from '../../core/protection/protection'
import type { Plan } from '../../core/requests/plan'
import { isPlan } from '../../core/shape'
import { type GuardedSend, guardSend } from '../protection/guard'
import { takeLimits } from '../protection/limits'
import type { Queries } from '../index'
import { isKnown } from '../recipients/known'
import { openRecipient } from '../recipients/recipients'
import { type Named, statement } from '../statement'
import { type Command, isOwn, type Own, Refused } from './command-outcome'

/** A wish for one more message. */
export interface MessageWish extends Command {
  /** Says the limits, and what the fraud rules do; the usual ones when absent. */
  policy?: ProtectionPolicy | undefined
  /** The fraud rules do not look at it: somebody tries the service on their own machine. */
  isTrusted?: boolean | undefined
}

const AddressedRow = z.strictObject({
  recipientId: z.string(),
  country: z.string().nullable(),
  isPhone: z.boolean(),
  plan: z.custom<Plan>(isPlan),
  secondsLeft: z.number(),
})

/** Whom a resend is to, as far as its limits and the fraud rules need it. */
interface Addressed extends z.infer<typeof AddressedRow> {
  number?: string | undefined
}

const addressedStatement = statement(
  'find_addressed',
  AddressedRow,
  (p: Named<Own>) => sql`
  select recipient_id as "recipientId", country, plan,
    (select kind = 'phone' from recipients p where p.id = recipient_id) as "isPhone",
    extract(epoch from expires_at - now())::float8 as "secondsLeft"
  from otp_requests where ${isOwn(p)} and state = 'pending' and expires_at > now()`,
)

/**
 * Takes one send of the limits of a live request's recipient; their windows first, as in a send: the two never wait for
 * each other crosswise.
 * @returns undefined when there is no such request
 */
export async function takeLimitsOf(
  tx: Queries,
  keyring: Keyring,
  { requestId, policy = {}, appId: app, environment }: MessageWish,
): Promise<Addressed | undefined> {
  const found = await tx.one(addressedStatement({ requestId, appId: app, environment }))
  if (!found) return undefined
  const { recipientId, country, isPhone, plan } = found
  const address = await openRecipient(tx, keyring, recipientId)
  const number = isPhone ? address : undefined
  const { recipient } = protectionOf(policy, { app, country }).limits
  const messages = policy.protection?.messageCap ?? usualMessageCap
  const domain = policy.protection?.domainCap ?? usualDomainCap
  const send = {
    app,
    environment,
    recipientId,
    number: reachesNobody(plan) ? undefined : number,
    email: isPhone ? undefined : address,
    limits: { recipient, messages, domain },
  }
  const slot = await takeLimits(tx, keyring, send)
  if ('limit' in slot) throw new Refused({ outcome: 'rate_limited', ...slot })
  return { ...found, number }
}

/** What the fraud rules say, by what is known of the request: nobody says whose address a resend comes from. */
export async function judgeResend(
  tx: Queries,
  keyring: Keyring,
  { requestId, policy = {}, isTrusted = false, appId: app, environment }: MessageWish,
  { recipientId, country, number, plan, secondsLeft }: Addressed,
): Promise<void> {
  const settings = protectionOf(policy, { app, country })
  const send: GuardedSend = {
    ...{ app, environment, country, number, requestId, recipientId },
    lifetimeSeconds: secondsLeft,
    reachesNobody: reachesNobody(plan),
    mode: modeFor(settings, environment),
    rules: settings.rules,
    isTrusted,
    isKnown: await isKnown(tx, { recipientId, environment }),
    isSolved: false,
  }
  const judged = await guardSend(tx, keyring, send)
  if (judged.verdict !== 'allowed') throw new Refused({ outcome: 'protected', send, ...judged })
}
