import { type SQL, sql } from 'drizzle-orm'
import type { RecipientKind } from '../../core/channel'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { appIndex, appIndexes, seal, sealedIn, unseal } from '../../codes/seal'
import { holdDigests, inTransaction } from '../hold'
import type { Queries } from '../index'
import { spellingsOfAddress } from './held-recipients'

/** An address in clear, normalised: E.164 with `+`, or a lower-case e-mail address. */
export interface Address {
  appId: string
  kind: RecipientKind
  value: string
}

/** In one statement, whichever of the known keys its row was indexed with. */
export function findRecipient(db: Queries, keyring: Keyring, address: Address) {
  return db.one<HeldRecipient>(sql`select id from recipients where ${isFound(keyring, address)}`)
}

/** Whether somebody ever came back with a code from an address, under whichever spelling and in whichever environment. */
export const hasVerified = async (
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<boolean> =>
  (await db.one(sql`select from recipients r join recipient_verifications v on v.recipient_id = r.id
    where ${isFound(keyring, address, spellingsOfAddress(address))} limit 1`)) !== undefined

const isFound = (
  keyring: Keyring,
  address: Address,
  values: readonly string[] = [address.value],
): SQL => {
  const indexes = values.flatMap((value) =>
    appIndexes(keyring, { ...address, value }).map(({ index }) => index),
  )
  return sql`app_id = ${address.appId} and kind = ${address.kind} and index in ${indexes}`
}

/** Erasures of one address that come between the statements of one send. */
const maxErasuresMet = 5

/** A recipient, as a send meets it. */
export interface HeldRecipient {
  id: string
}

/** As {@link findRecipient}; nobody erases it, or withdraws its consent, before the transaction ends. */
const findAndHold = (db: Queries, keyring: Keyring, address: Address) =>
  db.one<HeldRecipient>(
    sql`select id from recipients where ${isFound(keyring, address)} for key share`,
  )

/**
 * The recipient's row, added when the app meets this address for the first time; held against erasure until the
 * transaction ends.
 */
export async function holdRecipient(
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<HeldRecipient> {
  for (let tries = 0; tries < maxErasuresMet; tries++) {
    const recipient = await findOrTryToAdd(db, keyring, address)
    if (recipient) return recipient
  }
  throw new Error('A recipient vanished each time it was being added.')
}

async function findOrTryToAdd(
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<HeldRecipient | undefined> {
  const known = await findAndHold(db, keyring, address)
  if (known) return known
  const indexes = appIndexes(keyring, address)
  if (indexes.length === 1) return addRecipient(db, keyring, address)
  // While a key is being replaced, two processes may index one address differently: the table cannot tell that
  // the rows are one, so whoever adds it holds it under every key and looks once more.
  return inTransaction(db, async (tx) => {
    await holdDigests(
      tx,
      indexes.map(({ index }) => index),
    )
    const theirs = await findAndHold(tx, keyring, address)
    return theirs ?? addRecipient(tx, keyring, address)
  })
}

/** As {@link holdRecipient}, for who needs its id only. */
export const findOrAddRecipient = async (
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<string> => (await holdRecipient(db, keyring, address)).id

/** @returns undefined when somebody else's row was in the way, and was erased before it could be held. */
async function addRecipient(
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<HeldRecipient | undefined> {
  const { appId, kind, value } = address
  const id = randomId('rcp')
  const { index, kid: indexKid } = appIndex(keyring, address)
  const { ciphertext, kid } = seal(keyring, value, sealedIn.recipient(appId, id))
  const added = await db.one<{ id: string }>(sql`
    insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    values (${id}, ${appId}, ${kind}, ${index}, ${indexKid}, ${ciphertext}, ${kid})
    on conflict (app_id, kind, index) do nothing returning id`)
  if (added) return { id }
  // Somebody else added it between our two statements; it is committed now.
  return findAndHold(db, keyring, address)
}

export interface SealedRecipient {
  appId: string
  recipientId: string
  ciphertext: Buffer
  kid: string
}

/** The address in clear: only the send activity, search results' masks and routes by prefix ask for it. */
export const openAddress = (keyring: Keyring, row: SealedRecipient): string =>
  unseal(keyring, row, sealedIn.recipient(row.appId, row.recipientId))

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
