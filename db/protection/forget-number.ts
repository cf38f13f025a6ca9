import { sql } from 'drizzle-orm'
import { keptAs, keptIndexes } from '../../codes/kept-index'
import type { Keyring } from '../../codes/keyring'
import type { Queries } from '..'
import { type Addressee, allApps } from '../recipients/held-recipients'
import { type Named, NoRow, statement } from '../statement'

const forgetEntries = statement(
  'forget_list_entries',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from list_entries where index = any(${p.digests}::bytea[])`,
)
const forgetAllowed = statement(
  'forget_allow_entries',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from list_entries where index = any(${p.digests}::bytea[]) and verdict = 'allow'`,
)
const forgetTestNumbers = statement(
  'forget_test_numbers',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from test_numbers where index = any(${p.digests}::bytea[])`,
)
const forgetLookups = statement(
  'forget_number_lookups',
  NoRow,
  (p: Named<{ digests: Buffer[] }>) => sql`
  delete from number_lookups where index = any(${p.digests}::bytea[])`,
)

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
  const under = (names: string[]) => ({ digests: keptIndexes(keyring, names) })
  const listed = apps.flatMap(entriesOf)
  await tx.many(forgetEntries(under(listed)))
  if (appId === undefined) await tx.many(forgetAllowed(under(entriesOf(null))))
  if (kind !== 'phone') return
  const tests = apps.map((app) => keptAs.testNumber(app, value))
  await tx.many(forgetTestNumbers(under(tests)))
  const lookups = apps.map((app) => keptAs.lookup(app, value))
  await tx.many(forgetLookups(under(lookups)))
}
