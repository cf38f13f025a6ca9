import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import { seal, sealedIn, unseal } from '../../codes/seal'
import { type HookFailure, hookFailures } from '../../core/abuse/hook'
import { auditAdmin } from '../audit/entry'
import type { Database, Queries } from '../index'
import { statement } from '../statement'

/** The old secret signs beside a new one for this long. */
const rotationHours = 24

/** Where an app is asked before each of its sends. */
export interface PreSendHook {
  appId: string
  url: string
  /** What becomes of a send that it gives no answer about. */
  onFailure: HookFailure
  changedAt: Date
}

const columns = sql`app_id as "appId", url, on_failure as "onFailure", changed_at as "changedAt"`

export const findHook = (db: Queries, appId: string): Promise<PreSendHook | undefined> =>
  db.one<PreSendHook>(sql`select ${columns} from pre_send_hooks where app_id = ${appId}`)

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
    const row = await tx.one<PreSendHook & { isNew: boolean }>(sql`
      insert into pre_send_hooks (app_id, url, on_failure, secret_ciphertext, secret_kid)
      values (${appId}, ${url}, ${onFailure}, ${ciphertext}, ${kid})
      on conflict (app_id) do update set url = excluded.url, on_failure = excluded.on_failure, changed_at = now()
      returning ${columns}, secret_ciphertext = ${ciphertext} as "isNew"`)
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

/** Sends are not asked about any more; its address and its secrets are gone. @returns whether there was one */
export async function removeHook(
  db: Database,
  { appId, actor }: { appId: string; actor: string },
): Promise<boolean> {
  const gone = await changed(db, { appId, actor, what: 'removed' }, (tx) =>
    tx.one(sql`delete from pre_send_hooks where app_id = ${appId} returning app_id`),
  )
  return gone !== undefined
}

/** Gives a hook a new secret; the one before signs beside it for a day. @returns until when; undefined: no hook */
export async function rotateHookSecret(
  db: Database,
  keyring: Keyring,
  { appId, secret, actor }: { appId: string } & NewSecret,
): Promise<Date | undefined> {
  const { ciphertext, kid } = seal(keyring, secret, sealedIn.hookSecret(appId))
  const row = await changed(db, { appId, actor, what: 'secret' }, (tx) =>
    tx.one<{ until: Date }>(sql`
      update pre_send_hooks set secret_ciphertext = ${ciphertext}, secret_kid = ${kid},
        previous_secret_ciphertext = secret_ciphertext, previous_secret_kid = secret_kid,
        previous_secret_until = now() + make_interval(hours => ${rotationHours}), changed_at = now()
      where app_id = ${appId} returning previous_secret_until as until`),
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
    appId: z.string(),
    url: z.string(),
    onFailure: z.enum(hookFailures),
    changedAt: z.date(),
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
