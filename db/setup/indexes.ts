import type { Client } from 'pg'

/**
 * Indexes of tables that may be large when an update adds them. A migration makes its tables' indexes in the transaction
 * that all migrations share, and keeps writers out of them until it ends; these are made afterwards, one by one, while
 * the table is written to. Until they are there, what uses them is slow and right.
 */
const indexes: Readonly<Record<string, string>> = {
  send_decisions_recipient:
    'send_decisions (recipient_id, environment, at) where recipient_id is not null',
  // For each filter of a search, and of the list of decisions.
  otp_requests_newest: 'otp_requests (app_id, environment, created_at, id)',
  otp_requests_state:
    "otp_requests (app_id, environment, state, created_at, id) where state <> 'pending'",
  otp_requests_purpose:
    "otp_requests (app_id, environment, purpose, created_at, id) where purpose <> 'default' and purpose <> 'publishable'",
  audit_events_guesses:
    "audit_events (app_id, at) where type in ('check_rejected', 'locked') and detail ->> 'error_code' = 'INVALID_CODE'",
  send_decisions_verdict: 'send_decisions (app_id, environment, verdict, id)',
}

/** Those whose work others of the list do better. */
const replaced = ['otp_requests_app', 'audit_events_wrong']

/** Makes those that are missing, and anew those that an interrupted run left half made. */
export async function makeIndexes(client: Client): Promise<void> {
  const { rows } = await client.query<{ name: string; valid: boolean }>(
    `select c.relname as name, i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid
      where c.relnamespace = 'public'::regnamespace and c.relname = any($1)`,
    [Object.keys(indexes)],
  )
  const known = new Map(rows.map(({ name, valid }) => [name, valid]))
  for (const [name, definition] of Object.entries(indexes)) {
    if (known.get(name)) continue
    if (known.has(name)) await client.query(`drop index concurrently ${name}`)
    await client.query(`create index concurrently ${name} on ${definition}`)
  }
  for (const name of replaced) await client.query(`drop index concurrently if exists ${name}`)
}
