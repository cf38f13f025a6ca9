import { sql } from 'drizzle-orm'
import { keptAs, keptIndex, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import type { LineType } from '../../core/abuse/protection'
import { rowsOf, type ScopedSend, scopesOf } from '../../core/abuse/scopes'
import type { Queries } from '../index'

/** Numbers change hands, and carriers: so long an answer about one is believed. */
const keptFor = sql`interval '30 days'`

/** What a look-up account said of a number. */
export interface KeptLookup {
  valid: boolean
  lineType: LineType
  /** 0 to 100; null where the account did not say it. */
  riskScore: number | null
}

interface Looked {
  appId: string
  provider: string
  /** E.164 with `+`. */
  number: string
}

const indexesOf = (keyring: Keyring, { appId, number }: Omit<Looked, 'provider'>) =>
  keptIndexes(keyring, [keptAs.lookup(appId, number)])

/**
 * What was heard of a number within the last 30 days, and whether a block refuses the send anyway: then nobody is
 * asked, since an attack must not be paid for by the look-up either.
 */
export async function readLookup(
  db: Queries,
  keyring: Keyring,
  looked: Looked,
  send: ScopedSend,
): Promise<{ kept: KeptLookup | undefined; isRefused: boolean }> {
  const scopes = sql.param(scopesOf(send).flatMap(rowsOf))
  const row = await db.one<{ kept: KeptLookup | null; isRefused: boolean }>(sql`
    select (select jsonb_build_object('valid', valid, 'lineType', line_type, 'riskScore', risk_score)
        from number_lookups where index in ${indexesOf(keyring, looked)} and provider = ${looked.provider}
          and expires_at > now() limit 1) as kept,
      exists (select from send_blocks where name = any(${scopes}::text[]) and asks = 'block' and lifted_at is null
        and until > now()) as "isRefused"`)
  return { kept: row?.kept ?? undefined, isRefused: row?.isRefused ?? false }
}

/** Keeps an answer; what was heard before goes. */
export async function keepLookup(
  db: Queries,
  keyring: Keyring,
  looked: Looked,
  { valid, lineType, riskScore }: KeptLookup,
): Promise<void> {
  const { appId, provider, number } = looked
  const { index } = keptIndex(keyring, keptAs.lookup(appId, number))
  await db.many(sql`
    insert into number_lookups (index, app_id, provider, valid, line_type, risk_score, expires_at)
    values (${index}, ${appId}, ${provider}, ${valid}, ${lineType}, ${riskScore}, now() + ${keptFor})
    on conflict (index) do update set provider = excluded.provider, valid = excluded.valid, line_type = excluded.line_type,
      risk_score = excluded.risk_score, looked_up_at = now(), expires_at = excluded.expires_at`)
}
