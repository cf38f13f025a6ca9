import { Readable } from 'node:stream'
import { auditAdmin } from '../../../db/audit/entry'
import { type ExportedRow, exportAudit } from '../../../db/audit/export'
import { AuditQuery } from '../../contract/audit'
import type { ApiDeps } from '../../deps'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { appOrAllIn, findAppIn, requireLive } from './reach'

const mediaType = 'application/x-ndjson'

export const auditRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/audit',
    operationId: 'exportAudit',
    tag: 'Administration',
    summary: 'Export the audit',
    description:
      'One JSON object a line: number, id, chain, sequence, type, actor, app_id, request_id, run_id, attempt_id, detail, at, hash, kid. In the order of number, which has no gap over all apps; hash is the HMAC-SHA-256 over the row and the one before it in its chain. A row comes within a minute, when it is sealed. For the next export give the last number as after: none is missed. Without app_id an operator gets the rows of all apps that this process serves (OTPILOT_REGION), and the installation’s. Not with an app’s test key.',
    scope: 'admin',
    query: AuditQuery,
    replies: { 200: { description: 'All rows, streamed.', content: mediaType } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const { db } = deps
      const { from, to, after } = query
      const appId = appOrAllIn(key, query.app_id)
      requireLive(key)
      if (appId !== undefined) await findAppIn(deps, key, appId)
      await db.many(
        auditAdmin({
          appId: appId ?? null,
          type: 'audit_exported',
          actor: actorOf(key),
          detail: { from, to, after },
        }),
      )
      const pages = exportAudit(db, {
        appId,
        servedBy: deps,
        from: from === undefined ? undefined : new Date(from),
        to: to === undefined ? undefined : new Date(to),
        after,
      })
      return { contentType: mediaType, body: Readable.from(linesOf(pages)) }
    },
  })

async function* linesOf(pages: AsyncIterable<ExportedRow[]>): AsyncGenerator<string> {
  for await (const page of pages) yield page.map((row) => `${JSON.stringify(row)}\n`).join('')
}
