import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import type { RecipientKind } from '../../core/channel'
import type { Risk } from '../../core/risk'
import { openRecipient } from '../recipients/recipients'
import type { Queries } from '../index'
import { type Owner, ownedBy } from './owner'

/** What a further step of a request is routed by, as its first ones were. */
export interface RequestTraits {
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
  { requestId, ...owner }: Owner & { requestId: string },
): Promise<RequestTraits | undefined> {
  const row = await db.one<Omit<RequestTraits, 'number' | 'value'> & { recipientId: string }>(sql`
    select (select kind from recipients where id = r.recipient_id) as kind, country, risk,
      test_number as "isTest",
      recipient_id as "recipientId"
    from otp_requests r where id = ${requestId} and ${ownedBy(owner)}`)
  if (!row) return undefined
  const { recipientId, ...traits } = row
  const value = await openRecipient(db, keyring, recipientId)
  return { ...traits, value, number: row.kind === 'phone' ? value : undefined }
}
