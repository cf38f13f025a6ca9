import { createHash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'

/**
 * What a message that somebody sent us is known by. Of the adapter and not of the account: a vendor's ids are its own,
 * and what it signs for one account may hold for another one with the same secret.
 */
export const inboundDigest = (adapter: string, id: string): Buffer =>
  createHash('sha256')
    .update(JSON.stringify([adapter, id]))
    .digest()

const takeMessage = statement(
  'take_inbound_message',
  z.strictObject({ seenAt: z.date() }),
  ({ digest, recipients }: Named<{ digest: Buffer; recipients: readonly string[] }>) => sql`
    insert into inbound_messages (digest, recipients) values (${digest}, ${recipients}::text[])
    on conflict (digest) do nothing returning seen_at as "seenAt"`,
)

/**
 * Whether a message comes for the first time, and may be acted upon: a signature says that it is genuine, and not that it
 * is new. Part of the transaction that acts, so that one which fails leaves the message to be reported again.
 * @param recipients whom it is about
 */
export const isNewMessage = async (
  tx: Queries,
  message: { digest: Buffer; recipients: readonly string[] },
): Promise<boolean> => (await tx.one(takeMessage(message))) !== undefined
