import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import type { Database } from '../../db'
import { auditAdmin } from '../../db/audit/entry'
import type { Finding } from '../../db/audit/findings'
import { writeRoot } from '../../db/audit/roots'
import { sealBatch } from '../../db/audit/seal'
import { verifyAudit } from '../../db/audit/verify'
import { cancelRequest } from '../../db/requests/commands'
import { asSuperuser } from './database'
import { requestsOnly } from './requests'

/** What the sealer does and an auditor asks, at the moment a test wants it. */
export function auditTools({ db, keyring }: { db: Database; keyring: Keyring }) {
  const folder = mkdtempSync(join(tmpdir(), 'otpilot-audit-'))
  return {
    folder,
    /** Seals what waits; gives back how many rows it sealed. */
    async seal(limit = 500): Promise<number> {
      let sealed = 0
      for (let after = '0', taken = limit; taken === limit;) {
        const batch = await sealBatch(db, keyring, { after, limit })
        if (!batch) throw new Error('somebody else seals')
        sealed += batch.sealed
        taken = batch.taken
        after = batch.last
      }
      return sealed
    },
    root: () => writeRoot(db, keyring, { folder, everySeconds: 0, most: 100_000 }),
    async verify({
      retainedDays = 365,
      withKeys = keyring,
    }: { retainedDays?: number; withKeys?: Keyring } = {}) {
      const findings: Finding[] = []
      const report = (finding: Finding) => void findings.push(finding)
      const counts = await verifyAudit(db, withKeys, { folder, retainedDays, report })
      return { ...counts, findings }
    },
  }
}

/** Two requests of four rows each (requested, started, check_rejected, cancelled), an app's rows and the installation's. */
export async function auditedRequests() {
  const all = await requestsOnly()
  const audit = auditTools(all)
  const liveThrough = async (): Promise<string> => {
    const { requestId } = await all.open()
    await all.check(requestId, '000000')
    await cancelRequest(all.db, { ...all.owner, requestId, actor: 'test' })
    return requestId
  }
  const one = await liveThrough()
  const other = await liveThrough()
  await all.db.many(auditAdmin({ appId: 'app', type: 'app_created', actor: 'test' }))
  const detail = { b: 1, a: null }
  await all.db.many(auditAdmin({ appId: null, type: 'alert', actor: 'test', detail }))
  const nameOf = (chain?: string) => (chain === one ? 'one' : chain === other ? 'other' : chain)
  return {
    all,
    audit,
    one,
    other,
    liveThrough,
    countOf: async (table: string): Promise<number> => {
      const found = await all.db.one<{ n: number }>(
        sql.raw(`select count(*)::int as n from ${table}`),
      )
      return found?.n ?? -1
    },
    /** What the verifier finds, in short: kind, chain, row. */
    kinds: async (options: Parameters<typeof audit.verify>[0] = {}) =>
      (await audit.verify(options)).findings.map(({ kind, chain, sequence }) =>
        [kind, nameOf(chain), sequence].filter((part) => part !== undefined).join(' '),
      ),
    close: async () => {
      await all.close()
      rmSync(audit.folder, { recursive: true })
    },
  }
}

/** What a superuser of the database can do: everything, once the triggers are off. */
export const attack = (adminUrl: string, statements: readonly string[]): Promise<void> =>
  asSuperuser(adminUrl, ['set session_replication_role = replica', ...statements])
