import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { type RecipientKind, recipientKinds } from '../../core/channel'
import { type Risk, risks } from '../../core/protection/risk'
import { reasons, type State, states } from '../../core/requests/state'
import { openRecipient } from '../recipients/recipients'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import { type Owner, ownedBy } from './owner'
import { endingFound, pageColumns, requestOrPage } from './pages'

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

const TraitsRow = z.strictObject({
  requestId: z.string(),
  recipientId: z.string(),
  kind: z.enum(recipientKinds),
  country: z.string().nullable(),
  risk: z.enum(risks),
  isTest: z.boolean(),
  state: z.enum(states),
  reason: z.enum(reasons).nullable(),
  endedAt: z.date().nullable(),
  maxChecks: z.int(),
  pageId: z.string().nullable(),
  pageChecks: z.int().nullable(),
  pageVerifiedAt: z.date().nullable(),
  pageEndedAt: z.date().nullable(),
})

const traitsStatement = statement(
  'read_traits',
  TraitsRow,
  (p: Named<Owner & { id: string }>) => sql`
  select r.id as "requestId", r.state, r.reason, r.ended_at as "endedAt", r.max_checks as "maxChecks", ${pageColumns},
    (select kind from recipients where id = r.recipient_id) as kind, country, risk, test_number as "isTest",
    recipient_id as "recipientId"
  from ${requestOrPage(p.id)} where ${ownedBy(p)}`,
)

/** @returns undefined when the owner has no such request */
export async function readTraits(
  db: Queries,
  keyring: Keyring,
  { requestId: id, ...owner }: Owner & { requestId: string },
): Promise<RequestTraits | undefined> {
  const { appId, environment } = owner
  const row = await db.one(traitsStatement({ id, appId, environment }))
  if (!row) return undefined
  const { requestId, recipientId, kind, country, risk, isTest } = row
  const value = await openRecipient(db, keyring, recipientId)
  return {
    ...{ requestId, kind, country, risk, isTest, value },
    number: kind === 'phone' ? value : undefined,
    endedAs: endedAsPage(row),
  }
}

const endedAsPage = (row: z.infer<typeof TraitsRow>): State | undefined => {
  const { state } = endingFound(row)
  return row.pageId !== null && state !== 'pending' ? state : undefined
}
