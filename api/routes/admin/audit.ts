import { Readable } from 'node:stream'
import { auditAdmin } from '../../../db/audit/entry'
import { type ExportedRow, exportAudit, isSealOf } from '../../../db/audit/export'
import { AuditQuery } from '../../contract/audit'
import type { ApiKey } from '../../../db/apps/api-keys'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { isPlain, readShownNumber, shownNumber } from '../../shown-number'
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
      'One JSON object a line: number, id, chain, sequence, type, actor, app_id, request_id, run_id, attempt_id, detail, at, hash, kid. In the order of their seals. To an operator number has no gap over all apps; to an app’s key number and id tell nothing of the rows of other apps. hash is the HMAC-SHA-256 over the row and the one before it in its chain. A row comes within a minute, when it is sealed. For the next export give the last number as after: none is missed. Without app_id an operator gets the rows of all apps that this process serves (OTPILOT_REGION), and the installation’s. Not with an app’s test key.',
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
      const resumed = after === undefined ? undefined : await plainNumberOf(deps, key, after)
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
        after: resumed,
      })
      const show = (row: ExportedRow): ExportedRow => ({
        ...row,
        number: shownNumber({ ...deps, key, kind: 'audit_seal' }, row.number),
        id: shownNumber({ ...deps, key, kind: 'audit_event' }, row.id),
      })
      return { contentType: mediaType, body: Readable.from(linesOf(pages, show)) }
    },
  })

/**
 * The number of the seal that an export goes on after.
 * @throws {Problem} INVALID_REQUEST for what is no number of a row of the key's app
 */
async function plainNumberOf(deps: ApiDeps, key: ApiKey, after: string): Promise<string> {
  const read = readShownNumber({ ...deps, key, kind: 'audit_seal' }, after)
  if (read !== undefined) return read
  // Apps were shown plain numbers before 0.3.
  if (key.app && isPlain(after) && (await isSealOf(deps.db, { appId: key.app.id, number: after })))
    return after
  throw new Problem('INVALID_REQUEST', {
    detail:
      'after: is not the number of a row of this app. To export again from a time on, leave it out and give from.',
    errors: [{ field: 'after', message: 'is not the number of a row' }],
  })
}

async function* linesOf(
  pages: AsyncIterable<ExportedRow[]>,
  show: (row: ExportedRow) => ExportedRow,
): AsyncGenerator<string> {
  for await (const page of pages) yield page.map((row) => `${JSON.stringify(show(row))}\n`).join('')
}
