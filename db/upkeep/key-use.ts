import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { KeyPurpose } from '../../codes/keyring'
import type { Queries } from '../index'
import { type Bound, type Named, statement } from '../statement'

/** Rows that need one key, by where they are. */
export interface KeyUse {
  purpose: KeyPurpose
  kid: string
  /** What the rows are, in words for an operator. */
  what: string
  /** At most {@link countedUpTo}: nobody waits for the exact number of millions. */
  rows: number
}

export const countedUpTo = 10_000

/** What is erased keeps its kid, and needs no key. */
export const hasAddress = sql`ciphertext is not null`
export const hasSealedText = sql`(message_ciphertext is not null or metadata_ciphertext is not null)`

const KidCount = z.strictObject({ kid: z.string(), rows: z.int() })
type KidCount = z.infer<typeof KidCount>
/** The rows under each key, by a name of its own. */
const counting = (name: string, text: SQL) =>
  statement(`count_keys_of_${name}`, KidCount, () => text)

const counted = (rows: SQL) => sql`(select count(*)::int from (${rows} limit ${countedUpTo}) found)`

const pendingCodes = counting(
  'pending_codes',
  sql`select code_kid as kid, count(*)::int as rows from otp_requests where state = 'pending' group by code_kid`,
)

const secretsIn = (table: SQL) => sql`select kid, count(*)::int as rows from (
    select secret_kid as kid from ${table}
    union all select previous_secret_kid from ${table} where previous_secret_ciphertext is not null
  ) secrets group by kid`

/** Goes from kid to kid along the column's index, so that a table of millions costs a few look-ups. */
const byKid = (table: SQL, column: SQL, condition: SQL) => sql`
  with recursive kids(kid) as (
    select min(${column}) from ${table} where ${column} is not null
    union all
    select (select min(${column}) from ${table} where ${column} > kids.kid) from kids where kids.kid is not null
  )
  select kid, ${counted(sql`select from ${table} where ${column} = kids.kid and ${condition}`)} as rows
  from kids where kid is not null`

/** Of tables that operators fill by hand. */
const kidsOf = (table: SQL, column: SQL) =>
  sql`select ${column} as kid, count(*)::int as rows from ${table} group by 1`

const counts = {
  recipients_kid: counting('recipients', byKid(sql`recipients`, sql`kid`, hasAddress)),
  recipients_index_kid: counting(
    'recipients_index',
    byKid(sql`recipients`, sql`index_kid`, hasAddress),
  ),
  otp_requests_seal_kid: counting(
    'sealed_requests',
    byKid(sql`otp_requests`, sql`seal_kid`, hasSealedText),
  ),
  event_endpoints: counting('event_endpoints', secretsIn(sql`event_endpoints`)),
  pre_send_hooks: counting('pre_send_hooks', secretsIn(sql`pre_send_hooks`)),
  list_entries_kid: counting('list_entries', kidsOf(sql`list_entries`, sql`kid`)),
  list_entries_index_kid: counting('list_entries_index', kidsOf(sql`list_entries`, sql`index_kid`)),
  test_numbers_kid: counting('test_numbers', kidsOf(sql`test_numbers`, sql`kid`)),
  test_numbers_index_kid: counting('test_numbers_index', kidsOf(sql`test_numbers`, sql`index_kid`)),
}

/** No index leads from kid to kid there. */
const auditSeals = statement(
  'count_keys_of_audit_seals',
  KidCount,
  (p: Named<{ kids: readonly string[] }>) => sql`
  select kid, ${counted(sql`select from audit_seals where audit_seals.kid = kids.kid`)} as rows
  from unnest(${p.kids}::text[]) kids(kid)`,
)

/** Every row that names a key which must not go before it, by purpose and kid. `auditKids`: those of the key file. */
export async function keyUses(db: Queries, auditKids: readonly string[]): Promise<KeyUse[]> {
  const of = async (
    purpose: KeyPurpose,
    what: string,
    bound: Bound<KidCount>,
  ): Promise<KeyUse[]> => {
    const found = await db.many(bound)
    return found.filter(({ rows }) => rows > 0).map((use) => ({ purpose, what, ...use }))
  }
  return [
    ...(await of('codes', 'codes of pending requests', pendingCodes({}))),
    ...(await of('phones', 'recipients', counts.recipients_kid({}))),
    ...(await of('phones', 'sealed messages and metadata', counts.otp_requests_seal_kid({}))),
    ...(await of('phones', 'secrets of event endpoints', counts.event_endpoints({}))),
    ...(await of('phones', 'secrets of pre-send hooks', counts.pre_send_hooks({}))),
    ...(await of('phones', 'entries of lists', counts.list_entries_kid({}))),
    ...(await of('phones', 'test numbers', counts.test_numbers_kid({}))),
    ...(await of('app_index', 'recipients', counts.recipients_index_kid({}))),
    ...(await of('app_index', 'entries of lists', counts.list_entries_index_kid({}))),
    ...(await of('app_index', 'test numbers', counts.test_numbers_index_kid({}))),
    ...(await of('audit', 'audit seals', auditSeals({ kids: auditKids }))),
  ]
}
