import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { globalIndex } from '../../codes/seal'
import { domainOf, limitKeyOf } from '../../core/protection/mailbox'
import { type Environment, environments } from '../../core/requests/state'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'
import { openRecipient } from '../recipients/recipients'

/** So long after a code came back from a domain its mails are not counted together. */
const vouchedFor = sql`interval '30 days'`
/** What is noted of a domain is at most so old while codes come back from it: one that many use is no busy row. */
const notedAnew = sql`interval '1 hour'`

/** The name of the window that counts mails to a domain over all apps, by its global index. */
export const domainWindow =
  (environment: Environment) =>
  (index: Buffer): string =>
    `domain|${environment}|${index.toString('hex')}`

/**
 * Whether a code of late came back from the domain that a window counts the mails to. Under an older key too: a key that
 * is replaced must not have a domain with users begin as one without.
 */
export const isVouchedFor = (name: SQL, before: SQL): SQL => sql`exists (
  select from email_domains v where v.name = any(array[${name}] || ${before})
    and v.verified_at > now() - ${vouchedFor})`

/** Of no use any more. */
export const isOldDomain = sql`verified_at < now() - ${vouchedFor}`

const findStatement = statement(
  'find_verified_mailbox',
  z.strictObject({ recipientId: z.string(), environment: z.enum(environments) }),
  (p: Named<{ requestId: string }>) => sql`
  select r.recipient_id as "recipientId", r.environment from otp_requests r
    join recipients p on p.id = r.recipient_id and p.kind = 'email'
  where r.id = ${p.requestId} and r.state = 'verified' and not r.test_number`,
)

const vouchStatement = statement(
  'vouch_for_domain',
  NoRow,
  (p: Named<{ name: string }>) => sql`
  insert into email_domains as d (name, verified_at) values (${p.name}, clock_timestamp())
  on conflict (name) do update set verified_at = excluded.verified_at
    where d.verified_at < excluded.verified_at - ${notedAnew}`,
)

/**
 * Notes that a code of a request came back from an e-mail address: somebody reads mail at its domain, so that mails
 * there are not taken for a flood.
 * @throws {UnknownKey} when the key of the address is not known here
 */
export async function vouchForDomain(
  db: Queries,
  keyring: Keyring,
  requestId: string,
): Promise<void> {
  const request = await db.one(findStatement({ requestId }))
  if (!request) return
  const value = await openRecipient(db, keyring, request.recipientId)
  if (value === undefined) return
  const domain = domainOf(limitKeyOf({ kind: 'email', value }))
  const name = domainWindow(request.environment)(globalIndex(keyring, domain))
  await db.many(vouchStatement({ name }))
}
