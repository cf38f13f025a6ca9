import type { Client } from 'pg'

type Privilege = 'insert' | 'update' | 'delete'

const rows: readonly Privilege[] = ['insert', 'update', 'delete']
const kept: readonly Privilege[] = ['insert', 'update']

/**
 * What the service may do with each table beside reading it. A table that is not named here is read only. Locking
 * rows (`for update`) takes the right to update them.
 */
export const tableGrants: Record<string, readonly Privilege[]> = {
  // Said once, never changed: see docs/operations.md, "Audit".
  audit_events: ['insert'],
  audit_seals: ['insert'],
  audit_roots: ['insert'],
  audit_chains: kept,
  audit_unsealed: ['insert', 'delete'],
  // Each change is a row: live requests keep the wording that they were made with.
  message_templates: ['insert'],
  apps: kept,
  api_keys: kept,
  event_endpoints: kept,
  // These go with their event, by its foreign key.
  event_deliveries: kept,
  event_tries: ['insert'],
  address_windows: rows,
  alert_notices: rows,
  alerts: rows,
  app_hours: rows,
  attempts: rows,
  check_budgets: rows,
  delegated_codes: rows,
  email_domains: rows,
  events: rows,
  idempotency_keys: rows,
  inbound_messages: rows,
  key_quotas: rows,
  list_entries: rows,
  number_lookups: rows,
  opt_outs: rows,
  pre_send_hooks: rows,
  otp_requests: rows,
  page_requests: rows,
  preferences: rows,
  provider_breakers: kept,
  provider_callbacks: kept,
  provider_hours: rows,
  provider_ping_hours: rows,
  provider_pings: kept,
  receipts: rows,
  recipient_verifications: rows,
  recipients: rows,
  request_contexts: rows,
  send_blocks: rows,
  send_decisions: rows,
  send_standings: rows,
  send_windows: rows,
  spending: rows,
  spent_challenges: rows,
  test_numbers: rows,
  unknown_checks: rows,
  unmatched_receipts: rows,
  ussd_dials: rows,
  ussd_windows: rows,
}

/** What the service may call that runs with the owner's rights. */
const functions: readonly string[] = ['public.retire_audit(timestamptz, integer)']

/**
 * Gives a role exactly what the service needs: rows, never tables, triggers or types; and to read all of it, for
 * pg_dump. One transaction, so that running processes never meet the moment between.
 */
export async function grantTo(client: Client, role: string): Promise<void> {
  const to = client.escapeIdentifier(role)
  const statements = [
    `revoke all on all tables in schema public, drizzle from ${to}`,
    `revoke all on all sequences in schema public, drizzle from ${to}`,
    `grant usage on schema public, drizzle to ${to}`,
    `grant select on all tables in schema public, drizzle to ${to}`,
    `grant select on all sequences in schema drizzle to ${to}`,
    // To take the next number, not to set it.
    `grant usage, select on all sequences in schema public to ${to}`,
    ...Object.entries(tableGrants).map(
      ([table, privileges]) => `grant ${privileges.join(', ')} on public.${table} to ${to}`,
    ),
    ...functions.map((name) => `grant execute on function ${name} to ${to}`),
  ]
  await client.query(['begin', ...statements, 'commit'].join(';\n'))
}
