import { sql } from 'drizzle-orm'
import type { Channel } from '../../core/channel'
import type { Keyring } from '../../codes/keyring'
import { inTransaction } from '../hold'
import type { Queries } from '../index'
import { type Address, findOrAddRecipient, findRecipient } from './recipients'

/** Remembers a recipient's preferred channel. */
export async function putPreference(
  db: Queries,
  keyring: Keyring,
  { channel, ...address }: Address & { channel: Channel },
): Promise<void> {
  await inTransaction(db, async (tx) => {
    const recipientId = await findOrAddRecipient(tx, keyring, address)
    await tx.many(sql`insert into preferences (recipient_id, channel) values (${recipientId}, ${channel})
      on conflict (recipient_id) do update set channel = excluded.channel, updated_at = now()`)
  })
}

export async function findPreference(
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<Channel | undefined> {
  const recipient = await findRecipient(db, keyring, address)
  const row =
    recipient &&
    (await db.one<{ channel: Channel }>(
      sql`select channel from preferences where recipient_id = ${recipient.id}`,
    ))
  return row?.channel
}

/** @returns whether there was a preference. */
export async function deletePreference(
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<boolean> {
  const recipient = await findRecipient(db, keyring, address)
  if (!recipient) return false
  const gone = await db.one(
    sql`delete from preferences where recipient_id = ${recipient.id} returning recipient_id`,
  )
  return gone !== undefined
}
