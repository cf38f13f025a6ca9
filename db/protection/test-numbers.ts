import { asc, eq, sql } from 'drizzle-orm'
import { z } from 'zod'
import { keptAs, keptIndex, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import { auditAdmin } from '../audit/entry'
import { hasVerified } from '../recipients/recipients'
import type { Database, Queries } from '..'
import { isOf, type Place, type RowOwner, rowOwner } from '../requests/region'
import { testNumbers } from '../schema/numbers'
import { columns, type Named, NoRow, query, statement } from '../statement'

/** Of one app. */
export const maxTestNumbers = 20

/** A number that gets a fixed code and no message: for the review of an app, and for tests against live keys. */
export interface TestNumber {
  id: string
  /** E.164 with `+`. */
  phoneNumber: string
  code: string
  createdAt: Date
}

/** What the row of a test number keeps encrypted. */
export const readSealedTestNumber = (text: string) =>
  JSON.parse(text) as Pick<TestNumber, 'phoneNumber' | 'code'>

/** Number and code in clear. @throws {UnknownKey} when its key is not known here */
export const openTestNumber = (
  keyring: Keyring,
  appId: string,
  { id, ...row }: Sealed & { id: string },
) => readSealedTestNumber(unseal(keyring, row, sealedIn.testNumber(appId, id)))

const holdApp = statement(
  'hold_app',
  z.strictObject({}),
  (p: Named<{ appId: string }>) => sql`select from apps where id = ${p.appId} for no key update`,
)

const deleteStatement = statement(
  'delete_test_number',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from test_numbers where index = any(${p.digests}::bytea[])`,
)

interface NewTestNumber extends Sealed {
  id: string
  appId: string
  index: Buffer
  indexKid: string
}

const addStatement = statement(
  'add_test_number',
  z.strictObject({ createdAt: z.date() }),
  (p: Named<NewTestNumber>) => sql`
      insert into test_numbers (id, app_id, index, index_kid, ciphertext, kid)
      select ${p.id}, ${p.appId}, ${p.index}::bytea, ${p.indexKid}, ${p.ciphertext}::bytea, ${p.kid}
      where (select count(*) from test_numbers where app_id = ${p.appId}) < ${maxTestNumbers}
      returning created_at as "createdAt"`,
)

/**
 * Gives an app a test number, or one that it has another code.
 * @returns undefined when there is no such app; `full` when it has {@link maxTestNumbers}; `known` when somebody came
 * back with a code from the number, who would be its user from then on
 */
export function putTestNumber(
  db: Database,
  keyring: Keyring,
  {
    appId,
    phoneNumber,
    code,
    actor,
  }: { appId: string; phoneNumber: string; code: string; actor: string },
): Promise<TestNumber | 'full' | 'known' | undefined> {
  const id = randomId('tst')
  const name = keptAs.testNumber(appId, phoneNumber)
  const { index, kid: indexKid } = keptIndex(keyring, name)
  const text = JSON.stringify({ phoneNumber, code })
  const { ciphertext, kid } = seal(keyring, text, sealedIn.testNumber(appId, id))
  return db.transaction(async (tx) => {
    // Changes of one app come one after the other: so many are never more.
    const app = await tx.one(holdApp({ appId }))
    if (!app) return undefined
    if (await hasVerified(tx, keyring, { appId, kind: 'phone', value: phoneNumber })) return 'known'
    await tx.many(deleteStatement({ digests: keptIndexes(keyring, [name]) }))
    const row = await tx.one(addStatement({ id, appId, index, indexKid, ciphertext, kid }))
    if (!row) return 'full'
    const detail = { change: 'added', test_number: id }
    await tx.many(auditAdmin({ appId, type: 'test_number_changed', actor, detail }))
    return { id, phoneNumber, code, ...row }
  })
}

const listStatement = query('list_test_numbers', (p: Named<{ appId: string }>, db) =>
  db
    .select(
      columns({
        id: testNumbers.id,
        ciphertext: testNumbers.ciphertext,
        kid: testNumbers.kid,
        createdAt: testNumbers.createdAt,
      }),
    )
    .from(testNumbers)
    .where(eq(testNumbers.appId, p.appId))
    .orderBy(asc(testNumbers.id)),
)

/** All of an app's, by their ids. */
export async function readTestNumbers(
  db: Queries,
  keyring: Keyring,
  appId: string,
): Promise<TestNumber[]> {
  const rows = await db.many(listStatement({ appId }))
  return rows.map(({ createdAt, ...row }) => ({
    id: row.id,
    ...openTestNumber(keyring, appId, row),
    createdAt,
  }))
}

const removeStatement = statement(
  'remove_test_number',
  z.strictObject({ appId: z.string() }),
  (p: Named<RowOwner & { id: string }>) => sql`
  delete from test_numbers where id = ${p.id} and ${isOf(sql`test_numbers`, p)} returning app_id as "appId"`,
)

/** @param number `appId` undefined: whichever app has it. @returns whether there was one */
export function removeTestNumber(
  db: Database,
  {
    id,
    appId,
    servedBy,
    actor,
  }: { id: string; appId: string | undefined; servedBy?: Place | undefined; actor: string },
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const gone = await tx.one(removeStatement({ id, ...rowOwner(appId, servedBy) }))
    if (!gone) return false
    const detail = { change: 'removed', test_number: id }
    await tx.many(auditAdmin({ appId: gone.appId, type: 'test_number_changed', actor, detail }))
    return true
  })
}
