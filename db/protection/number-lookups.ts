import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { keptAs, keptIndex, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import { lineTypes } from '../../core/protection/protection'
import { rowsOf, type ScopedSend, scopesOf } from '../../core/protection/scopes'
import type { Queries } from '..'
import { IdRow, type Named, NoRow, statement } from '../statement'

/** Numbers change hands, and carriers: so long an answer about one is believed. */
const keptFor = sql`interval '30 days'`

const LookupRow = z.strictObject({
  valid: z.boolean(),
  lineType: z.enum(lineTypes),
  /** 0 to 100; null where the account did not say it. */
  riskScore: z.int().nullable(),
})

/** What a look-up account said of a number. */
export type KeptLookup = z.infer<typeof LookupRow>

interface Looked {
  appId: string
  provider: string
  /** E.164 with `+`. */
  number: string
}

const indexesOf = (keyring: Keyring, { appId, number }: Omit<Looked, 'provider'>) =>
  keptIndexes(keyring, [keptAs.lookup(appId, number)])

const readStatement = statement(
  'read_lookup',
  LookupRow,
  (p: Named<{ digests: Buffer[]; provider: string }>) => sql`
    select valid, line_type as "lineType", risk_score as "riskScore" from number_lookups
    where index = any(${p.digests}::bytea[]) and provider = ${p.provider} and expires_at > now() limit 1`,
)

/** What was heard of a number within the last 30 days. */
export const readLookup = (
  db: Queries,
  keyring: Keyring,
  looked: Looked,
): Promise<KeptLookup | undefined> =>
  db.one(readStatement({ digests: indexesOf(keyring, looked), provider: looked.provider }))

const findBlock = statement(
  'find_block',
  IdRow,
  (p: Named<{ names: string[] }>) => sql`
  select id from send_blocks
  where name = any(${p.names}::text[]) and asks = 'block' and lifted_at is null and until > now() limit 1`,
)

/** Whether a block stands over a place that a send is counted in. */
export async function isBlocked(db: Queries, send: ScopedSend): Promise<boolean> {
  const names = scopesOf(send).flatMap(rowsOf)
  return (await db.one(findBlock({ names }))) !== undefined
}

const keepStatement = statement(
  'keep_lookup',
  NoRow,
  (p: Named<KeptLookup & { index: Buffer; appId: string; provider: string }>) => sql`
    insert into number_lookups (index, app_id, provider, valid, line_type, risk_score, expires_at)
    values (${p.index}, ${p.appId}, ${p.provider}, ${p.valid}, ${p.lineType}, ${p.riskScore}, now() + ${keptFor})
    on conflict (index) do update set provider = excluded.provider, valid = excluded.valid, line_type = excluded.line_type,
      risk_score = excluded.risk_score, looked_up_at = now(), expires_at = excluded.expires_at`,
)

/** Keeps an answer; what was heard before goes. */
export async function keepLookup(
  db: Queries,
  keyring: Keyring,
  looked: Looked,
  { valid, lineType, riskScore }: KeptLookup,
): Promise<void> {
  const { appId, provider, number } = looked
  const { index } = keptIndex(keyring, keptAs.lookup(appId, number))
  await db.many(keepStatement({ index, appId, provider, valid, lineType, riskScore }))
}
