import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { globalIndex, globalIndexes } from '../../codes/seal'
import { holdDigests } from '../hold'
import type { Database } from '..'
import { IdRow, type Named, statement } from '../statement'

const reserveStatement = statement(
  'reserve_number',
  IdRow,
  (p: Named<{ attemptId: string; index: Buffer; indexes: Buffer[] }>) => sql`
      with own as (
        select a.provider, a.channel, r.id as request_id, r.expires_at
        from attempts a join otp_requests r on r.id = a.request_id
        -- Held, so that an erasure either comes first and ends the request, or finds this row.
        where a.id = ${p.attemptId} and r.state = 'pending' and r.expires_at > now() for share of r
      ), reserved as (
      insert into delegated_codes as d (provider, number_index, request_id, attempt_id, channel, expires_at)
      select provider, ${p.index}, request_id, ${p.attemptId}, channel, expires_at from own
      where not exists (
        select from delegated_codes x join otp_requests o on o.id = x.request_id
        where x.provider = own.provider and x.number_index = any(${p.indexes}::bytea[]) and x.request_id <> own.request_id
          and x.expires_at > now() and o.state = 'pending')
      on conflict (provider, number_index) do update set request_id = excluded.request_id,
        attempt_id = excluded.attempt_id, channel = excluded.channel, expires_at = excluded.expires_at,
        forwarded = case when d.request_id = excluded.request_id then d.forwarded else 0 end,
        checking_until = case when d.request_id = excluded.request_id then d.checking_until end
      returning attempt_id
      )
      update attempts set delegated = true from reserved where id = reserved.attempt_id returning id`,
)

/**
 * Reserves a number at a provider account for the code that the provider is about to make: one live request at a time,
 * whatever the app, since a provider checks its codes by number. The request's own earlier reservation is renewed.
 * @returns false while another live request has it, or when this one is over
 */
export function reserveNumber(
  db: Database,
  keyring: Keyring,
  { attemptId, phoneNumber }: { attemptId: string; phoneNumber: string },
): Promise<boolean> {
  const indexes = globalIndexes(keyring, phoneNumber)
  return db.transaction(async (tx) => {
    // While keys change, two processes may know the number by two indexes: they wait for each other here.
    await holdDigests(tx, indexes)
    const index = globalIndex(keyring, phoneNumber)
    const reserved = await tx.one(reserveStatement({ attemptId, index, indexes: [...indexes] }))
    return reserved !== undefined
  })
}
