import { sql } from 'drizzle-orm'
import { keptAs, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import type { Queries } from '../index'
import { type Addressee, allApps } from '../recipients/held-recipients'

/**
 * Removes what lists, test numbers and look-ups keep about an address. Where every app is to forget it, so are the
 * operators' allow entries; what they blocked stays blocked, or an erasure would be the way around it.
 */
export async function forgetNumber(
  tx: Queries,
  keyring: Keyring,
  { kind, value, appId, servedBy }: Addressee,
): Promise<void> {
  const apps = appId === undefined ? await allApps(tx, servedBy) : [appId]
  // A prefix may be as long as a number, and then be one.
  const listKinds = kind === 'phone' ? ['phone_number', 'prefix'] : ['email']
  const entriesOf = (app: string | null) =>
    listKinds.map((listKind) => keptAs.listEntry(app, listKind, value))
  const under = (names: string[]) => sql`any(${sql.param(keptIndexes(keyring, names))}::bytea[])`
  const listed = apps.flatMap(entriesOf)
  await tx.many(sql`delete from list_entries where index = ${under(listed)}`)
  if (appId === undefined)
    await tx.many(sql`delete from list_entries
      where index = ${under(entriesOf(null))} and verdict = 'allow'`)
  if (kind !== 'phone') return
  const tests = apps.map((app) => keptAs.testNumber(app, value))
  await tx.many(sql`delete from test_numbers where index = ${under(tests)}`)
  const lookups = apps.map((app) => keptAs.lookup(app, value))
  await tx.many(sql`delete from number_lookups where index = ${under(lookups)}`)
}
