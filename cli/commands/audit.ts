import { once } from 'node:events'
import { join } from 'node:path'
import type { Command } from 'commander'
import { PlainAuditQuery } from '../../api/contract/audit'
import { rootPublicKey } from '../../codes/audit-chain'
import { openKeyFile } from '../../codes/key-file'
import { loadPolicy } from '../../config/policy'
import { wholeRequestDays } from '../../core/recipients/retention'
import { findApp } from '../../db/apps/apps'
import { auditAdmin } from '../../db/audit/entry'
import { exportAudit } from '../../db/audit/export'
import { verifyAudit } from '../../db/audit/verify'
import { withDatabase } from './connection'
import { fileOption, usualKeyFile, withKeys } from './key-file'
import { checked, wholeNumber } from './options'
import { printJson } from './print'

const usualFolder = (): string =>
  process.env.OTPILOT_AUDIT_DIR || join(process.env.OTPILOT_DATA_DIR || '.otpilot', 'audit')

/** Of the policy that the service of this environment would use. */
const usualRetention = (): number => {
  const loaded = loadPolicy(process.env.OTPILOT_POLICY_FILE)
  if (!loaded.success) throw new Error(loaded.faults.join('\n'))
  return wholeRequestDays(loaded.policy.retention)
}

interface VerifyOptions {
  dir: string
  file: string
  retainedDays?: number
  json?: true
}

interface ExportOptions {
  app?: string
  from?: string
  to?: string
  after?: string
}

export const addAuditCommands = (program: Command): void => {
  const audit = program.command('audit').description('proves, exports and explains the audit')

  audit
    .command('verify')
    .description(
      'names every row that was edited, deleted, swapped or not sealed; exit code 1 then',
    )
    .option('--dir <folder>', 'the signed roots; else OTPILOT_AUDIT_DIR says', usualFolder())
    .option(...fileOption, usualKeyFile())
    .option('--retained-days <days>', 'older rows may be gone; else the policy says', wholeNumber)
    .option('--json', 'print one JSON object a line')
    .action(verify)

  audit
    .command('export')
    .description('writes all sealed rows to standard output, one JSON object a line')
    .option('--app <app>', 'of this app only')
    .option('--from <time>', 'written from this time on, such as 2027-01-31T00:00:00Z')
    .option('--to <time>', 'written before this time')
    .option('--after <number>', '`number` of the last row of the export before')
    .action(exportRows)

  audit
    .command('public-key')
    .description('prints the key that checks roots and cannot make them')
    .option(...fileOption, usualKeyFile())
    .action(({ file }: { file: string }) => withKeys(file, printPublicKeys))
}

const verify = ({ dir, file, retainedDays, json }: VerifyOptions): Promise<void> =>
  withKeys(file, (keyring) =>
    withDatabase(async (db) => {
      const { findings, rows, chains, roots } = await verifyAudit(db, keyring, {
        folder: dir,
        retainedDays: retainedDays ?? usualRetention(),
        report: (finding) =>
          console.log(json ? JSON.stringify(finding) : `${finding.kind}: ${finding.message}`),
      })
      if (json) console.log(JSON.stringify({ findings, rows, chains, roots }))
      else
        console.log(
          `${rows} rows in ${chains} chains, ${roots} roots: ${findings === 0 ? 'nothing is wrong' : `${findings} found`}.`,
        )
      if (findings > 0) process.exitCode = 1
    }),
  )

const exportRows = (options: ExportOptions): Promise<void> =>
  withDatabase(async (db) => {
    const { app, ...same } = options
    const { app_id: appId, from, to, after } = checked(PlainAuditQuery, { app_id: app, ...same })
    if (appId !== undefined && !(await findApp(db, appId)))
      throw new Error(`There is no app "${appId}".`)
    const detail = { from, to, after }
    await db.many(
      auditAdmin({ appId: appId ?? null, type: 'audit_exported', actor: 'cli', detail }),
    )
    const pages = exportAudit(db, {
      appId,
      from: from === undefined ? undefined : new Date(from),
      to: to === undefined ? undefined : new Date(to),
      after,
    })
    for await (const page of pages)
      for (const row of page)
        if (!process.stdout.write(`${JSON.stringify(row)}\n`)) await once(process.stdout, 'drain')
  })

const printPublicKeys = (keyring: ReturnType<typeof openKeyFile>): void =>
  printJson(
    Object.fromEntries(keyring.all('audit').map(({ kid, key }) => [kid, rootPublicKey(key)])),
  )
