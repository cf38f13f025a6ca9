import { type SQL, sql } from 'drizzle-orm'
import type { ProtectionMode } from '../../core/abuse/protection'
import type { Finding } from '../../core/abuse/rules'
import type { Verdict } from '../../core/abuse/verdict'
import type { Environment } from '../../core/state'
import type { Queries } from '../index'
import { type Owner, ownedBy } from '../requests/owner'

/** What was decided about one send, as people read it. */
export interface DecisionView {
  id: string
  /** A refused send made no request of this id. */
  requestId: string
  appId: string
  environment: Environment
  country: string | null
  at: Date
  verdict: Verdict
  mode: ProtectionMode
  findings: Finding[]
  /** What became of it: its code came back (`converted`), or did not (`unconverted`); null until that is known. */
  outcome: string | null
}

// In an order by, a bare name means the column of the answer before that of the table: `id` would be its text, in which
// 9 comes after 10. So everything below names the table's as d.id.
const columns = sql`d.id::text as id, d.request_id as "requestId", d.app_id as "appId", d.environment, d.country, d.at,
  d.verdict, d.mode, d.findings, d.outcome`

/** The newest decision about a request's sends. */
export const lastDecision = (db: Queries, { requestId, ...owner }: Owner & { requestId: string }) =>
  db.one<DecisionView>(sql`select ${columns} from send_decisions d
    where request_id = ${requestId} and ${ownedBy(owner)} order by d.id desc limit 1`)

export interface DecisionFilter {
  /** Every app when absent. */
  appId?: string | undefined
  environment?: Environment | undefined
  verdict?: Verdict | undefined
  requestId?: string | undefined
  since?: Date | undefined
  /** The id that the page before ended with. */
  before?: string | undefined
  limit: number
}

/** Decisions, the newest first. */
export function listDecisions(db: Queries, filter: DecisionFilter): Promise<DecisionView[]> {
  const { appId, environment, verdict, requestId, since, before, limit } = filter
  const conditions: SQL[] = [
    ...(appId === undefined ? [] : [sql`app_id = ${appId}`]),
    ...(environment === undefined ? [] : [sql`environment = ${environment}`]),
    ...(verdict === undefined ? [] : [sql`verdict = ${verdict}`]),
    ...(requestId === undefined ? [] : [sql`request_id = ${requestId}`]),
    ...(since === undefined ? [] : [sql`at >= ${since}`]),
    ...(before === undefined ? [] : [sql`d.id < ${before}::bigint`]),
  ]
  const where = conditions.length === 0 ? sql`` : sql`where ${sql.join(conditions, sql` and `)}`
  return db.many<DecisionView>(
    sql`select ${columns} from send_decisions d ${where} order by d.id desc limit ${limit}`,
  )
}

/** What turned a send away before the fraud rules were asked, and before anything was known of its recipient. */
export interface TurnedAway {
  requestId: string
  appId: string
  environment: Environment
  country: string | null
  verdict: Extract<Verdict, 'blocked' | 'challenge'>
  mode: ProtectionMode
  /** In the words of the findings. */
  rule: string
}

/** Writes down what the rules did not decide; it raises no block. */
export async function noteTurnedAway(db: Queries, send: TurnedAway): Promise<void> {
  const asks = send.verdict === 'blocked' ? 'block' : 'challenge'
  const finding = { rule: send.rule, scope: 'send', name: '', asks, count: 1, limit: 1 }
  await db.many(sql`
    insert into send_decisions (request_id, app_id, environment, country, at, verdict, mode, findings)
    values (${send.requestId}, ${send.appId}, ${send.environment}, ${send.country}, clock_timestamp(),
      ${send.verdict}, ${send.mode}, ${JSON.stringify([finding])}::jsonb)`)
}
