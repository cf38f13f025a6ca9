import { sql } from 'drizzle-orm'
import type { Keyring } from '../codes/keyring'
import { appIndexes } from '../codes/seal'
import type { RecipientKind } from '../core/channel'
import type { Queries } from './index'

/** An address as one app knows it, or as every app does. */
export interface Addressee {
  kind: RecipientKind
  value: string
  /** Undefined: in every app. */
  appId?: string | undefined
}

export interface HeldRecipient {
  id: string
  appId: string
}

/**
 * The rows of an address, held until the transaction ends: sends to it wait, and then look it up anew. In the order of
 * their ids, so that two who hold the same cannot wait for each other.
 */
export async function holdRecipients(
  tx: Queries,
  keyring: Keyring,
  { kind, value, appId }: Addressee,
): Promise<HeldRecipient[]> {
  const apps = appId === undefined ? await allApps(tx) : [appId]
  const known = apps.flatMap((app) =>
    appIndexes(keyring, { appId: app, kind, value }).map(({ index }) => ({ app, index })),
  )
  if (known.length === 0) return []
  const pairs = known.map(({ app, index }) => sql`(${app}, ${index})`)
  // A list, no join: a row that changed its index for a newer key's while this waited is still one of them.
  return tx.many<HeldRecipient>(sql`
    select id, app_id as "appId" from recipients
    where kind = ${kind} and erased_at is null and (app_id, index) in (${sql.join(pairs, sql`, `)})
    order by id for update`)
}

const allApps = async (tx: Queries): Promise<string[]> =>
  (await tx.many<{ id: string }>(sql`select id from apps`)).map(({ id }) => id)
