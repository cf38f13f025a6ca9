import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { openKeyFile } from '../../codes/key-file'
import { appIndex, seal, sealedIn } from '../../codes/seal'
import { listDecisions } from '../../db/protection/decision-log'
import { readStatus } from '../../db/requests/status'
import { auditTools } from '../harness/audit'
import { type OlderDatabase, olderDatabase } from '../harness/older-database'
import { sendInput, tempKeyFile } from '../harness/seed'

/** The newest migration of the versions that had the mode `quiet`. */
const before = '0016_hooks'

let older: OlderDatabase

beforeAll(async () => void (older = await olderDatabase(before)))
afterAll(() => older.drop())

const keyring = openKeyFile(tempKeyFile(), { strict: true })

async function seedQuiet() {
  const { db } = older
  await db.many(sql`insert into apps (id, name, brand) values ('app', 'Acme', 'Acme')`)
  await db.many(sql`insert into event_endpoints (id, app_id, environment, url, secret_ciphertext, secret_kid)
    values ('epp_1', 'app', 'staging', 'https://app.example/events', 'sealed', 'kid')`)
  const value = '+233555000010'
  const { index, kid: indexKid } = appIndex(keyring, { appId: 'app', kind: 'phone', value })
  const { ciphertext, kid } = seal(keyring, value, sealedIn.recipient('app', 'rcp_1'))
  await db.many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    values ('rcp_1', 'app', 'phone', ${index}, ${indexKid}, ${ciphertext}, ${kid})`)
  const request = (id: string, { quiet, purpose }: { quiet: boolean; purpose: string }) =>
    db.many(sql`
      with made as (
        insert into otp_requests (id, app_id, recipient_id, purpose, environment, risk, locale, brand, plan, code_salt,
          code_mac, code_kid, code_length, code_alphabet, max_checks, audit_seq, workflow_started_at, expires_at, quiet)
        values (${id}, 'app', 'rcp_1', ${purpose}, 'staging', 'normal', 'en', 'Acme',
          ${JSON.stringify(sendInput().plan)}::jsonb, 'salt', 'mac', 'kid', 6, 'digits', 5, 1, now(),
          now() + interval '4 minutes', ${quiet})
      )
      insert into audit_events (request_id, app_id, sequence, type, actor, detail)
      values (${id}, 'app', 1, 'requested', 'key:k', ${JSON.stringify({ channel: 'sms', ...(quiet && { quiet }) })}::jsonb)`)
  await request('otp_live', { quiet: true, purpose: 'live' })
  await request('otp_loud', { quiet: false, purpose: 'loud' })
  await request('otp_over', { quiet: true, purpose: 'over' })
  await db.many(sql`
    with ended as (
      update otp_requests set state = 'exhausted', reason = 'no_step_succeeded', ended_at = now(), code_salt = null,
        code_mac = null, audit_seq = 2 where id = 'otp_over'
    )
    insert into audit_events (request_id, app_id, sequence, type, actor, detail)
    values ('otp_over', 'app', 2, 'exhausted', 'worker', '{"reason": "no_step_succeeded"}')`)
  await db.many(sql`insert into send_decisions (request_id, recipient_id, app_id, environment, at, verdict, mode)
    select id, recipient_id, app_id, environment, now(), case when quiet then 'quiet' else 'allowed' end, 'quiet'
    from otp_requests`)
  await db.many(sql`insert into app_hours (app_id, environment, country, hour, sends, challenged, blocked, quiet, due,
    reached, matured, converted, locked, summed_at)
    values ('app', 'staging', 'GH', date_trunc('hour', now()), 1, 0, 3, 2, 1, 1, 1, 1, 0, now())`)
}

test('an update ends live quiet requests as cancelled, and nothing of the others is lost', async () => {
  await seedQuiet()
  await older.migrate()
  const { db } = older
  const statusOf = (requestId: string) =>
    readStatus(db, keyring, { appId: 'app', environment: 'staging', requestId })

  const live = await statusOf('otp_live')
  expect(live).toMatchObject({
    state: 'cancelled',
    reason: 'requested',
    decision: { verdict: 'blocked', mode: 'block' },
    events: [
      { sequence: 1, type: 'requested', detail: { quiet: true } },
      { sequence: 2, type: 'cancelled', detail: { reason: 'requested' } },
    ],
  })
  expect(live?.endedAt).toBeInstanceOf(Date)
  expect(await statusOf('otp_over')).toMatchObject({
    state: 'exhausted',
    reason: 'no_step_succeeded',
    decision: { verdict: 'blocked', mode: 'block' },
  })
  expect(await statusOf('otp_loud')).toMatchObject({
    state: 'pending',
    decision: { verdict: 'allowed', mode: 'block' },
  })
  const codes = await db.many(sql`select id, code_mac is null as wiped, signal_due_at as due
    from otp_requests order by id`)
  expect(codes).toEqual([
    { id: 'otp_live', wiped: true, due: null },
    { id: 'otp_loud', wiped: false, due: null },
    { id: 'otp_over', wiped: true, due: null },
  ])

  // The app learns of the end as of any other.
  const events = await db.many(
    sql`select type from events where request_id = 'otp_live' order by at, type`,
  )
  expect(events).toEqual([{ type: 'created' }, { type: 'cancelled' }])
  const decisions = await listDecisions(db, { appId: 'app', limit: 10 })
  expect(decisions.map(({ verdict }) => verdict).toSorted()).toEqual([
    'allowed',
    'blocked',
    'blocked',
  ])
  expect(await db.one(sql`select sends, blocked from app_hours`)).toEqual({ sends: 1, blocked: 5 })
  const audit = auditTools({ db, keyring })
  expect(await audit.seal()).toBe(5)
  await audit.root()
  expect(await audit.verify()).toMatchObject({ rows: 5, findings: [] })
})
