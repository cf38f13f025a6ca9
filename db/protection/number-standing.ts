import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { keptAs, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import type { ListMatch } from '../../core/protection/lists'
import type { Queries } from '..'
import { type Named, statement } from '../statement'
import type { ListValue } from './lists'
import { openTestNumber } from './test-numbers'

/** What is kept about a send's recipient and end user before it is looked at. */
export interface KnownBefore {
  matches: ListMatch[]
  /** The fixed code of a test number. */
  fixedCode?: string
}

const readStatement = statement(
  'read_known_before',
  z.strictObject({
    id: z.string(),
    match: z.custom<ListMatch | null>(),
    ciphertext: z.instanceof(Buffer).nullable(),
    kid: z.string().nullable(),
  }),
  (p: Named<{ listed: Buffer[]; tests: Buffer[] }>) => sql`
  select id, jsonb_build_object('isGlobal', app_id is null, 'kind', kind, 'verdict', verdict, 'length', length)
    as match, null::bytea as ciphertext, null as kid
  from list_entries where index = any(${p.listed}::bytea[]) and (expires_at is null or expires_at > now())
  union all
  select id, null, ciphertext, kid from test_numbers where index = any(${p.tests}::bytea[])`,
)

/**
 * The entries of lists that are about a send, and whether it is to a test number of the app, in one statement.
 * @param asked every value that an entry about it could have; `phoneNumber` in E.164, absent for e-mail
 * @throws {UnknownKey} when the key of a test number is not known here
 */
export async function readKnownBefore(
  db: Queries,
  keyring: Keyring,
  {
    appId,
    values,
    phoneNumber,
  }: {
    appId: string
    values: readonly Omit<ListValue, 'length'>[]
    phoneNumber?: string | undefined
  },
): Promise<KnownBefore> {
  const names = values.flatMap(({ kind, value }) =>
    [appId, null].map((owner) => keptAs.listEntry(owner, kind, value)),
  )
  const numbers = phoneNumber === undefined ? [] : [keptAs.testNumber(appId, phoneNumber)]
  const listed = keptIndexes(keyring, names)
  const rows = await db.many(readStatement({ listed, tests: keptIndexes(keyring, numbers) }))
  const matches = rows.flatMap(({ match }) => match ?? [])
  for (const { id, ciphertext, kid } of rows)
    if (ciphertext && kid)
      return { matches, fixedCode: openTestNumber(keyring, appId, { id, ciphertext, kid }).code }
  return { matches }
}
