import { sql } from 'drizzle-orm'
import { randomId } from '../../codes/random-id'
import { scopesOf } from '../../core/protection/scopes'
import { noStanding } from '../../core/protection/standing'
import { isLockTimeout } from '../../db'
import { noteRefusal, readStandings } from '../../db/protection/decisions'
import { type Guarded, type GuardedSend, guardSend } from '../../db/protection/guard'
import { createApp } from '../../db/apps/apps'
import type { requestsOnly } from './requests'

export const start = new Date('2026-03-02T12:00:00Z')
export const after = (seconds: number) => new Date(start.getTime() + seconds * 1_000)
let lastApp = 0

/** An app of its own, whose sends meet no other's. */
export async function guardedApp(
  requests: Pick<Awaited<ReturnType<typeof requestsOnly>>, 'db' | 'keyring'>,
  given: Partial<GuardedSend> = {},
) {
  const app = `app-${++lastApp}`
  await createApp(requests.db, { id: app, name: app })
  const send = (number: string, more: Partial<GuardedSend> = {}): GuardedSend => ({
    app,
    environment: 'production',
    number,
    country: 'GH',
    requestId: randomId('otp'),
    recipientId: randomId('rcp'),
    lifetimeSeconds: 300,
    mode: 'block',
    rules: {},
    isTrusted: false,
    isSolved: false,
    ...given,
    ...more,
  })
  /** As the service does it: what is refused is rolled back, and then written down. */
  const guard = async (one: GuardedSend, at: Date, patience = 5): Promise<Guarded> => {
    let guarded: Guarded | undefined
    const refused = new Error('refused')
    try {
      await requests.db.transaction(async (tx) => {
        guarded = await guardSend(tx, requests.keyring, one, at)
        if (guarded.verdict !== 'allowed') throw refused
      })
    } catch (error) {
      // As `openRequest` does it: a busy machine keeps a row for longer than a statement waits.
      if (isLockTimeout(error) && patience > 0) return guard(one, at, patience - 1)
      if (error !== refused) throw error
    }
    if (!guarded) throw new Error('not guarded')
    if (guarded.verdict !== 'allowed') await noteRefusal(requests.db, one, guarded, at)
    return guarded
  }
  const blocks = () =>
    requests.db.many<{
      scope: string
      label: string
      rule: string
      level: number
      refused: number
      seconds: number
    }>(sql`
      select scope, label, rule, level, refused,
        case when until < 'infinity' then extract(epoch from until - since)::int end as seconds
      from send_blocks where app_id = ${app} order by since`)
  const decisions = (condition = sql`true`) =>
    requests.db.many<{
      verdict: string
      outcome: string | null
      scopes: string[] | null
      findings: { rule: string }[]
    }>(sql`
      select verdict, outcome, scopes, findings from send_decisions where app_id = ${app} and ${condition} order by id`)
  const standing = async (kind: string, number: string, at: Date) => {
    const scope = scopesOf(send(number)).find((one) => one.kind === kind)
    if (!scope) throw new Error(`no ${kind}`)
    return (await readStandings(requests.db, [scope], at)).get(scope.name) ?? noStanding
  }
  return { app, send, guard, blocks, decisions, standing }
}
