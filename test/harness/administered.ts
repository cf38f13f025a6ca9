import { expect } from '@jest/globals'
import { sql } from 'drizzle-orm'
import type { MadeKeyAnswer } from '../../api/contract/admin'
import { createApiKey } from '../../db/apps/api-keys'
import { clientOf, type TestClient } from './client'
import { startSystem } from './system'

const keyBody = { app_id: 'app', environment: 'staging', scopes: ['send', 'verify', 'read'] }

/** A system without a worker, and those who administer it. */
export async function startAdministered() {
  const system = await startSystem({ withWorker: false })
  const operator = clientOf(system, system.operatorKey)
  const adminOf = async (environment: 'production' | 'staging') =>
    clientOf(
      system,
      (await createApiKey(system.db, { appId: 'app', environment, scopes: ['admin'] })).key,
    )
  return {
    system,
    operator,
    /** The app's own administrators, by a live and by a test key. */
    ofApp: await adminOf('production'),
    ofAppTest: await adminOf('staging'),
    keyBody,
    makeKey: async (given: object = {}, by: TestClient = operator): Promise<MadeKeyAnswer> => {
      const { status, body } = await by.call<MadeKeyAnswer>('POST', '/admin/keys', {
        ...keyBody,
        ...given,
      })
      expect([status, body]).toMatchObject([200, {}])
      return body
    },
    /** The trail of an app, or without one of the installation, latest first. */
    trail: (appId: string | null, count: number) =>
      system.db.many<{ type: string; actor: string; detail: object }>(sql`
        select type, actor, detail from audit_events
        where request_id is null and app_id is not distinct from ${appId}
        order by id desc limit ${count}`),
    /** Fields at fault, of a 400. */
    faults: async (method: string, path: string, body: unknown) => {
      const answer = await operator.call<{ error_code: string; errors?: { field: string }[] }>(
        method,
        path,
        body,
      )
      expect([body, answer.status, answer.body.error_code]).toEqual([body, 400, 'INVALID_REQUEST'])
      return answer.body.errors?.map(({ field }) => field)
    },
  }
}
export type Administered = Awaited<ReturnType<typeof startAdministered>>
