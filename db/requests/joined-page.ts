import type { Keyring } from '../../codes/keyring'
import { reachesNobody } from '../../core/protection/number'
import { isOverLimits, type Limited } from '../protection/limits'
import { isBlocked } from '../protection/number-lookups'
import { shortageOf } from '../spending/spending'
import type { Queries } from '../index'
import { holdOtherSpellings } from '../recipients/held-recipients'
import { type HeldRecipient, holdRecipient } from '../recipients/recipients'
import { type LiveRow, lockLive, noteJoined } from './live'
import { type SendInput, startable } from './new-request'
import { joinPage } from './pages'
import { guardedSend, limitedSend } from './weighed-send'

/** The limits that strangers share with the owner of a number, and can use up. */
const sharedLimits = ['recipient', 'pacing'] as const

export const isSharedLimit = (limit: Limited['limit']): boolean =>
  sharedLimits.some((shared) => shared === limit)

interface Joining {
  input: SendInput
  page: string
  refusal: Limited
}

/**
 * Gives a page an id of its own over the live request of its recipient, and sends nothing: for a send that is refused by
 * the limits of the recipient alone. Else whoever sends to a number before its owner does would keep the owner out.
 * @returns undefined where nothing is live, where something else refuses the send too, or where the live request has as
 * many pages as it may
 */
export async function joinLive(tx: Queries, keyring: Keyring, joining: Joining) {
  const { input, page } = joining
  const others = await holdOtherSpellings(tx, keyring, { appId: input.appId, ...input.recipient })
  const recipient = await holdRecipient(tx, keyring, { appId: input.appId, ...input.recipient })
  const limited = limitedSend(input, recipient.id)
  if (await isOverLimits(tx, keyring, limited, sharedLimits)) return undefined
  const live = await lockJoinable(tx, input, [recipient.id, ...others])
  if (!live || (await isRefusedElsewise(tx, input, { live, recipient }))) return undefined
  if (!(await joinPage(tx, { id: page, requestId: live.requestId }))) return undefined
  const { requestId, channel } = live
  await noteJoined(tx, { requestId, channel, actor: `key:${input.keyId}` })
  return joined(live, joining)
}

/** What goes to a test number has another code than what goes to the same number as any other. */
async function lockJoinable(
  tx: Queries,
  input: SendInput,
  recipientIds: readonly [string, ...string[]],
): Promise<LiveRow | undefined> {
  // To a stranger it makes no difference who is known.
  const found = await lockLive(tx, { ...input, recipientIds }, { asksKnown: false })
  const { live } = found
  if (!live || live.overdue || found.withdrawal !== null) return undefined
  return reachesNobody(live.plan) === reachesNobody(input.plan) ? live : undefined
}

/** Whether a block or the budget refuses the send as well. Nothing of it is counted: no message goes out. */
async function isRefusedElsewise(
  tx: Queries,
  input: SendInput,
  {
    live: { requestId },
    recipient: { id: recipientId },
  }: { live: LiveRow; recipient: HeldRecipient },
): Promise<boolean> {
  const send = guardedSend(input, { recipientId, isKnown: false, requestId })
  const heedsBlocks = send.mode === 'block' && !send.isTrusted && send.rules.blocked === undefined
  if (heedsBlocks && (await isBlocked(tx, send))) return true
  return (await shortageOf(tx, { owner: input, ...input })) !== undefined
}

const joined = (live: LiveRow, { input, page, refusal }: Joining) => ({
  ...startable(input.appId, live),
  outcome: 'repeated' as const,
  requestId: live.requestId,
  pageId: page,
  channel: live.channel,
  instruction: live.instruction,
  expiresAt: live.expiresAt,
  sends: live.sends,
  needsStart: !live.started && !live.queued,
  ended: false,
  resend: 'already_sending' as const,
  isJoined: true,
  pauseSeconds: refusal.retryAfterSeconds,
  wakes: [],
})
