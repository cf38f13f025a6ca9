import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import type { RecipientKind } from '../../core/channel'
import type { Risk } from '../../core/risk'
import type { Reason, State } from '../../core/state'
import { openRecipient } from '../recipients/recipients'
import type { Queries } from '../index'
import { type Owner, ownedBy } from './owner'
import { endingFound, type PageColumns, pageColumns, requestOrPage } from './pages'

/** What a further step of a request is routed by, as its first ones were. */
export interface RequestTraits {
  /** Of the request itself, also where it was found by a page's id. */
  requestId: string
  /** How the page's own request has ended, where it was found by its id. */
  endedAs: State | undefined
  kind: RecipientKind
  /** In clear; undefined when erased. */
  value: string | undefined
  /** The same, where it is a phone number. */
  number: string | undefined
  country: string | null
  risk: Risk
  /** To a test number. */
  isTest: boolean
}

/** @returns undefined when the owner has no such request */
export async function readTraits(
  db: Queries,
  keyring: Keyring,
  { requestId: id, ...owner }: Owner & { requestId: string },
): Promise<RequestTraits | undefined> {
  const row = await db.one<TraitsRow>(sql`
    select r.id as "requestId", r.state, r.reason, r.ended_at as "endedAt", r.max_checks as "maxChecks", ${pageColumns}, (select kind from recipients where id = r.recipient_id) as kind, country, risk,
      test_number as "isTest",
      recipient_id as "recipientId"
    from ${requestOrPage(sql`${id}`)} where ${ownedBy(owner)}`)
  if (!row) return undefined
  const { requestId, recipientId, kind, country, risk, isTest } = row
  const value = await openRecipient(db, keyring, recipientId)
  return {
    ...{ requestId, kind, country, risk, isTest, value },
    number: kind === 'phone' ? value : undefined,
    endedAs: endedAsPage(row),
  }
}

interface TraitsRow extends PageColumns, Omit<RequestTraits, 'number' | 'value' | 'endedAs'> {
  recipientId: string
  state: State
  reason: Reason | null
  endedAt: Date | null
  maxChecks: number
}

const endedAsPage = (row: TraitsRow): State | undefined => {
  const { state } = endingFound(row)
  return row.pageId !== null && state !== 'pending' ? state : undefined
}
