import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { type Channel, channels } from '../../core/channel'
import type { Keyring } from '../../codes/keyring'
import type { Environment } from '../../core/requests/state'
import { inTransaction } from '../hold'
import type { Queries } from '../index'
import { IdRow, type Named, NoRow, statement } from '../statement'
import { type Address, findOrAddRecipient, findRecipient } from './recipients'

/** Whose preference: what a test key is told chooses no channel of the same address in production. */
type Whose = Address & { environment: Environment }

interface There {
  recipientId: string
  environment: Environment
}

const keepPreference = statement(
  'put_preference',
  NoRow,
  ({ recipientId, environment, channel }: Named<There & { channel: Channel }>) => sql`
  insert into preferences (recipient_id, environment, channel) values (${recipientId}, ${environment}, ${channel})
  on conflict (recipient_id, environment) do update set channel = excluded.channel, updated_at = now()`,
)

/** Remembers a recipient's preferred channel. */
export async function putPreference(
  db: Queries,
  keyring: Keyring,
  { channel, environment, ...address }: Whose & { channel: Channel },
): Promise<void> {
  await inTransaction(db, async (tx) => {
    const recipientId = await findOrAddRecipient(tx, keyring, address)
    await tx.many(keepPreference({ recipientId, environment, channel }))
  })
}

const readPreference = statement(
  'find_preference',
  z.strictObject({ channel: z.enum(channels) }),
  ({ recipientId, environment }: Named<There>) => sql`
  select channel from preferences where recipient_id = ${recipientId} and environment = ${environment}`,
)

export async function findPreference(
  db: Queries,
  keyring: Keyring,
  { environment, ...address }: Whose,
): Promise<Channel | undefined> {
  const recipient = await findRecipient(db, keyring, address)
  if (!recipient) return undefined
  return (await db.one(readPreference({ recipientId: recipient.id, environment })))?.channel
}

const removePreference = statement(
  'delete_preference',
  IdRow,
  ({ recipientId, environment }: Named<There>) => sql`
  delete from preferences where recipient_id = ${recipientId} and environment = ${environment}
  returning recipient_id as id`,
)

/** @returns whether there was a preference. */
export async function deletePreference(
  db: Queries,
  keyring: Keyring,
  { environment, ...address }: Whose,
): Promise<boolean> {
  const recipient = await findRecipient(db, keyring, address)
  if (!recipient) return false
  const gone = await db.one(removePreference({ recipientId: recipient.id, environment }))
  return gone !== undefined
}
