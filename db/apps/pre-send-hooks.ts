import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { seal, type Sealed, sealedIn, unseal } from '../../codes/seal'
import { hookFailures } from '../../core/protection/hook'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '../index'
import { type Named, statement } from '../statement'

/** The old secret signs beside a new one for this long. */
const rotationHours = 24

const HookRow = z.strictObject({
  appId: z.string(),
  url: z.string(),
  /** What becomes of a send that it gives no answer about. */
  onFailure: z.enum(hookFailures),
  changedAt: z.date(),
})

/** Where an app is asked before each of its sends. */
export type PreSendHook = z.infer<typeof HookRow>

const columns = sql`app_id as "appId", url, on_failure as "onFailure", changed_at as "changedAt"`

const findStatement = statement(
  'find_hook',
  HookRow,
  (p: Named<{ appId: string }>) =>
    sql`select ${columns} from pre_send_hooks where app_id = ${p.appId}`,
)

export const findHook = (db: Queries, appId: string): Promise<PreSendHook | undefined> =>
  db.one(findStatement({ appId }))

const putStatement = statement(
  'put_hook',
  z.strictObject({ ...HookRow.shape, isNew: z.boolean() }),
  (p: Named<Omit<PreSendHook, 'changedAt'> & Sealed>) => sql`
      insert into pre_send_hooks (app_id, url, on_failure, secret_ciphertext, secret_kid)
      values (${p.appId}, ${p.url}, ${p.onFailure}, ${p.ciphertext}, ${p.kid})
      on conflict (app_id) do update set url = excluded.url, on_failure = excluded.on_failure, changed_at = now()
      returning ${columns}, secret_ciphertext = ${p.ciphertext} as "isNew"`,
)

/**
 * Registers an app's hook, or changes it: one that is there keeps its secret.
 * @param secret signs the calls of a new one; stored encrypted and never shown again
 */
export function putHook(
  db: Database,
  keyring: Keyring,
  { appId, url, onFailure, secret, actor }: Omit<PreSendHook, 'changedAt'> & NewSecret,
): Promise<PreSendHook & { isNew: boolean }> {
  const { ciphertext, kid } = seal(keyring, secret, sealedIn.hookSecret(appId))
  return db.transaction(async (tx) => {
    const detail = { changed: 'url on_failure', on_failure: onFailure }
    // First, because it holds the app's chain: changes of one app's hook come one after the other.
    await tx.many(auditAdmin({ appId, type: 'hook_changed', actor, detail }))
    const row = await tx.one(putStatement({ appId, url, onFailure, ciphertext, kid }))
    if (!row) throw new Error('Postgres returned no row for a hook.')
    return row
  })
}

interface NewSecret {
  secret: string
  actor: string
}

/** Ends the transaction without keeping anything of it. */
class NoHook extends Error {}

/** Writes a change down and makes it; where there is no hook, nothing is kept. */
async function changed<T>(
  db: Database,
  { appId, actor, what }: { appId: string; actor: string; what: string },
  change: (tx: Queries) => Promise<T | undefined>,
): Promise<T | undefined> {
  try {
    return await db.transaction(async (tx) => {
      const detail = { changed: what }
      await tx.many(auditAdmin({ appId, type: 'hook_changed', actor, detail }))
      const done = await change(tx)
      if (done === undefined) throw new NoHook()
      return done
    })
  } catch (error) {
    if (error instanceof NoHook) return undefined
    throw error
  }
}

const removeStatement = statement(
  'remove_hook',
  z.strictObject({ appId: z.string() }),
  (p: Named<{ appId: string }>) => sql`
  delete from pre_send_hooks where app_id = ${p.appId} returning app_id as "appId"`,
)

/** Sends are not asked about any more; its address and its secrets are gone. @returns whether there was one */
export async function removeHook(
  db: Database,
  { appId, actor }: { appId: string; actor: string },
): Promise<boolean> {
  const gone = await changed(db, { appId, actor, what: 'removed' }, (tx) =>
    tx.one(removeStatement({ appId })),
  )
  return gone !== undefined
}

const rotateStatement = statement(
  'rotate_hook_secret',
  z.strictObject({ until: z.date() }),
  (p: Named<Sealed & { appId: string }>) => sql`
      update pre_send_hooks set secret_ciphertext = ${p.ciphertext}, secret_kid = ${p.kid},
        previous_secret_ciphertext = secret_ciphertext, previous_secret_kid = secret_kid,
        previous_secret_until = now() + make_interval(hours => ${rotationHours}), changed_at = now()
      where app_id = ${p.appId} returning previous_secret_until as until`,
)

/** Gives a hook a new secret; the one before signs beside it for a day. @returns until when; undefined: no hook */
export async function rotateHookSecret(
  db: Database,
  keyring: Keyring,
  { appId, secret, actor }: { appId: string } & NewSecret,
): Promise<Date | undefined> {
  const { ciphertext, kid } = seal(keyring, secret, sealedIn.hookSecret(appId))
  const row = await changed(db, { appId, actor, what: 'secret' }, (tx) =>
    tx.one(rotateStatement({ appId, ciphertext, kid })),
  )
  return row?.until
}

/** A hook as it is called. */
export interface CallableHook extends Omit<PreSendHook, 'changedAt'> {
  /** Those that sign now, the new one first. @throws {UnknownKey} */
  secrets: () => string[]
}

const readStatement = statement(
  'read_hooks',
  z.strictObject({
    ...HookRow.shape,
    ciphertext: z.instanceof(Buffer),
    kid: z.string(),
    previousCiphertext: z.instanceof(Buffer).nullable(),
    previousKid: z.string().nullable(),
  }),
  () => sql`
  select ${columns}, secret_ciphertext as ciphertext, secret_kid as kid,
    case when previous_secret_until > now() then previous_secret_ciphertext end as "previousCiphertext",
    previous_secret_kid as "previousKid" from pre_send_hooks`,
)

/** Every app's hook, to be kept for a few seconds: sends do not wait for a look each. */
export async function readHooks(db: Queries, keyring: Keyring): Promise<Map<string, CallableHook>> {
  const rows = await db.many(readStatement({}))
  return new Map(
    rows.map(({ appId, url, onFailure, ...sealed }) => [
      appId,
      { appId, url, onFailure, secrets: () => open(keyring, appId, sealed) },
    ]),
  )
}

interface SealedSecrets {
  ciphertext: Buffer
  kid: string
  previousCiphertext: Buffer | null
  previousKid: string | null
}

function open(
  keyring: Keyring,
  appId: string,
  { ciphertext, kid, previousCiphertext, previousKid }: SealedSecrets,
): string[] {
  const context = sealedIn.hookSecret(appId)
  const previous =
    previousCiphertext && previousKid
      ? [unseal(keyring, { ciphertext: previousCiphertext, kid: previousKid }, context)]
      : []
  return [unseal(keyring, { ciphertext, kid }, context), ...previous]
}
