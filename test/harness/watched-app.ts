import { sql } from 'drizzle-orm'
import type { Raised } from '../../core/alerts/rule'
import { listAlerts } from '../../db/alerts/alerts'
import { createApp } from '../../db/apps/apps'
import type { requestsOnly } from './requests'

type Requests = Pick<Awaited<ReturnType<typeof requestsOnly>>, 'db'>

export const noon = new Date('2026-11-23T12:00:00Z')
export const later = (seconds: number, from = noon) => new Date(from.getTime() + seconds * 1_000)

let apps = 0

/** An app of its own, and what there is about it: no other test's alerts meet its. */
export async function watchedApp({ db }: Requests) {
  const appId = `watched${++apps}`
  await createApp(db, { id: appId, name: 'A' })
  return {
    appId,
    wave: (given: Partial<Raised> = {}): Raised => ({
      appId,
      environment: 'production',
      rule: 'lockout_wave',
      subject: '',
      severity: 'warning',
      detail: { locked: 12, usual: 0.1 },
      ...given,
    }),
    own: () => listAlerts(db, { appId, limit: 100 }),
    audited: () =>
      db.many<{ detail: object }>(sql`select detail from audit_events
        where chain = ${`app:${appId}`} and type = 'alert' order by sequence`),
    notices: () =>
      db.many<{
        kind: string
      }>(sql`select n.kind from alert_notices n join alerts a on a.id = n.alert_id
        where a.app_id = ${appId} order by n.id`),
  }
}
