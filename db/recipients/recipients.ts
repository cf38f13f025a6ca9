import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { RecipientKind } from '../../core/channel'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { appIndex, appIndexes, seal, sealedIn, unseal } from '../../codes/seal'
import { holdDigests, inTransaction } from '../hold'
import type { Queries } from '../index'
import { IdRow, type Named, statement } from '../statement'
import { spellingsOfAddress } from './held-recipients'

/** An address in clear, normalised: E.164 with `+`, or a lower-case e-mail address. */
export interface Address {
  appId: string
  kind: RecipientKind
  value: string
}

/** An address under each of the known keys: whichever its row was indexed with. */
interface Sought {
  appId: string
  kind: RecipientKind
  indexes: Buffer[]
}

const isFound = (p: Named<Sought>): SQL =>
  sql`app_id = ${p.appId} and kind = ${p.kind} and index = any(${p.indexes}::bytea[])`

const soughtBy = (
  keyring: Keyring,
  address: Address,
  values: readonly string[] = [address.value],
): Sought => ({
  ...{ appId: address.appId, kind: address.kind },
  indexes: values.flatMap((value) =>
    appIndexes(keyring, { ...address, value }).map(({ index }) => index),
  ),
})

const findStatement = statement(
  'find_recipient',
  IdRow,
  (p: Named<Sought>) => sql`select id from recipients where ${isFound(p)}`,
)

/** In one statement, whichever of the known keys its row was indexed with. */
export const findRecipient = (
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<HeldRecipient | undefined> => db.one(findStatement(soughtBy(keyring, address)))

const verifiedStatement = statement(
  'find_verified_recipient',
  IdRow,
  (p: Named<Sought>) => sql`
  select r.id from recipients r join recipient_verifications v on v.recipient_id = r.id where ${isFound(p)} limit 1`,
)

/** Whether somebody ever came back with a code from an address, under whichever spelling and in whichever environment. */
export const hasVerified = async (
  db: Queries,
  keyring: Keyring,
  address: Address,
): Promise<boolean> =>
  (await db.one(verifiedStatement(soughtBy(keyring, address, spellingsOfAddress(address))))) !==
  undefined

/** Erasures of one address that come between the statements of one send. */
const maxErasuresMet = 5

/** A recipient, as a send meets it. */
export interface HeldRecipient {
  id: string
}

const holdStatement = statement(
  'hold_recipient',
  IdRow,
  (p: Named<Sought>) => sql`select id from recipients where ${isFound(p)} for key share`,
)

/** As {@link findRecipient}; nobody erases it, or withdraws its consent, before the transaction ends. */
const findAndHold = (db: Queries, keyring: Keyring, address: Address) =>
  db.one(holdStatement(soughtBy(keyring, address)))

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

interface NewRecipient {
  id: string
  appId: string
  kind: RecipientKind
  index: Buffer
  indexKid: string
  ciphertext: Buffer
  kid: string
}

const addStatement = statement(
  'add_recipient',
  IdRow,
  (p: Named<NewRecipient>) => sql`
  insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
  values (${p.id}, ${p.appId}, ${p.kind}, ${p.index}, ${p.indexKid}, ${p.ciphertext}, ${p.kid})
  on conflict (app_id, kind, index) do nothing returning id`,
)

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
  const added = await db.one(addStatement({ id, appId, kind, index, indexKid, ciphertext, kid }))
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

const sealedStatement = statement(
  'read_sealed_recipient',
  z.strictObject({
    appId: z.string(),
    recipientId: z.string(),
    ciphertext: z.instanceof(Buffer),
    kid: z.string(),
  }),
  (p: Named<{ id: string }>) => sql`
  select app_id as "appId", id as "recipientId", ciphertext, kid from recipients
  where id = ${p.id} and erased_at is null`,
)

/** The address of a recipient in clear, or undefined when erased. */
export async function openRecipient(
  db: Queries,
  keyring: Keyring,
  id: string,
): Promise<string | undefined> {
  const row = await db.one(sealedStatement({ id }))
  return row && openAddress(keyring, row)
}

const anyStatement = statement(
  'find_any_recipient',
  z.strictObject({}),
  () => sql`select from recipients limit 1`,
)

/** Whether an address is stored, which other keys could not read. */
export const hasRecipients = async (db: Queries): Promise<boolean> =>
  (await db.one(anyStatement({}))) !== undefined
