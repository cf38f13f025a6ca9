import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Channel } from '../../core/channel'
import { type State, states } from '../../core/requests/state'
import type { Wake } from '../../core/requests/wake'
import { noteRefusal } from '../protection/decisions'
import type { Guarded, GuardedSend } from '../protection/guard'
import type { Limited } from '../protection/limits'
import type { Shortage } from '../spending/spending'
import type { Database, Queries } from '../index'
import { type Named, statement } from '../statement'
import { endingOverdue, OverdueRow } from './ending'
import { type Owner, ownedBy } from './owner'

/** What somebody wants of a request. */
export interface Command extends Owner {
  requestId: string
  actor: string
}

/** `wake` is to be sent after the commit. */
export type CommandOutcome =
  | {
      outcome: 'done'
      channel?: Channel
      sends?: number
      /** What there is to dial, where that is the channel. */
      instruction?: string | undefined
      wake?: Wake
    }
  | { outcome: 'not_found' | 'no_next' }
  | { outcome: 'already_sending'; channel: Channel; sends: number }
  | ({ outcome: 'over_budget' } & Shortage)
  /** The fraud rules refuse it. */
  | ({ outcome: 'protected' } & Judged)
  | { outcome: 'ended'; state: State }
  | ({ outcome: 'rate_limited' } & Limited)

type Judged = { send: GuardedSend } & Guarded

/** Ends the transaction without keeping anything of it. */
export class Refused extends Error {
  constructor(readonly outcome: CommandOutcome) {
    super('refused')
  }
}

/** Runs a command in a transaction, of which a refusal leaves nothing but its own row. */
export async function decided(
  db: Database,
  decide: (tx: Queries) => Promise<CommandOutcome>,
): Promise<CommandOutcome> {
  try {
    return await db.transaction(decide)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const { outcome } = error
    if (outcome.outcome === 'protected') await noteRefusal(db, outcome.send, outcome)
    return outcome
  }
}

/** A request of whoever asks about it. */
export type Own = Owner & { requestId: string }

/** The condition on `otp_requests` that finds it. */
export const isOwn = (p: Named<Own>) => sql`id = ${p.requestId} and ${ownedBy(p)}`

const closeOwn = statement('close_own_overdue', OverdueRow, (p: Named<Own>) =>
  endingOverdue(isOwn(p), 'api'),
)

const stateOfOwn = statement(
  'find_own_state',
  z.strictObject({ state: z.enum(states) }),
  (p: Named<Own>) => sql`select state from otp_requests where ${isOwn(p)}`,
)

/** What there is to say where a command found nothing to do; an overdue request is ended first. */
export async function whyNot(
  db: Queries,
  owner: Owner,
  requestId: string,
): Promise<CommandOutcome> {
  const own = { requestId, appId: owner.appId, environment: owner.environment }
  await db.many(closeOwn(own))
  const row = await db.one(stateOfOwn(own))
  if (!row) return { outcome: 'not_found' }
  return row.state === 'pending' ? { outcome: 'no_next' } : { outcome: 'ended', state: row.state }
}
