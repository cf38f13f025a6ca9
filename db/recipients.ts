import { sql } from 'drizzle-orm'
import type { RecipientKind } from '../core/channel'
import type { Keyring } from '../codes/keyring'
import { randomId } from '../codes/random-id'
import { appIndex, seal, unseal } from '../codes/seal'
import type { Queries } from './index'

/** An address in clear, normalised: E.164 with `+`, or a lower-case e-mail address. */
export interface Address {
  appId: string
  kind: RecipientKind
  value: string
}

const contextOf = (appId: string, recipientId: string) => `recipient|${appId}|${recipientId}`

export function findRecipient(db: Queries, keyring: Keyring, { appId, kind, value }: Address) {
  const { index } = appIndex(keyring, appId, kind, value)
  return db.one<{ id: string }>(sql`select id from recipients
    where app_id = ${appId} and kind = ${kind} and index = ${index}`)
}

/** The recipient's row, added when the app meets this address for the first time. */
export async function findOrAddRecipient(
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<string> {
  const known = await findRecipient(db, keyring, address)
  if (known) return known.id
  const { appId, kind, value } = address
  const id = randomId('rcp')
  const { index, kid: indexKid } = appIndex(keyring, appId, kind, value)
  const { ciphertext, kid } = seal(keyring, value, contextOf(appId, id))
  const added = await db.one<{ id: string }>(sql`
    insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    values (${id}, ${appId}, ${kind}, ${index}, ${indexKid}, ${ciphertext}, ${kid})
    on conflict (app_id, kind, index) do nothing returning id`)
  if (added) return added.id
  // Somebody else added it between our two statements; it is committed now.
  const theirs = await findRecipient(db, keyring, address)
  if (!theirs) throw new Error('A recipient vanished while it was being added.')
  return theirs.id
}

export interface SealedRecipient {
  appId: string
  recipientId: string
  ciphertext: Buffer
  kid: string
}

/** The address in clear: only the send activity and search results' masks ask for it. */
export const openAddress = (keyring: Keyring, row: SealedRecipient): string =>
  unseal(keyring, row, contextOf(row.appId, row.recipientId))

/** The address of a recipient in clear, or undefined when erased. */
export async function openRecipient(
  db: Queries,
  keyring: Keyring,
  id: string,
): Promise<string | undefined> {
  const row = await db.one<SealedRecipient>(sql`
    select app_id as "appId", id as "recipientId", ciphertext, kid from recipients
    where id = ${id} and erased_at is null`)
  return row && openAddress(keyring, row)
}
