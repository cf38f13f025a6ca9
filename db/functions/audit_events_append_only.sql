-- Audit rows, seals and roots are only ever added, but for what retire_audit() takes away whole, years later.
create or replace function audit_events_append_only() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('otpilot.retiring', true) = 'on' then
    if tg_table_name = 'audit_seals' or (to_jsonb(old)->>'at')::timestamptz < now() - interval '90 days' then
      return old;
    end if;
  end if;
  raise exception '% are append-only', replace(tg_table_name, '_', ' ') using errcode = 'insufficient_privilege';
end $$;

create or replace trigger audit_events_append_only before update or delete on audit_events
  for each row execute function audit_events_append_only();

create or replace trigger audit_events_no_truncate before truncate on audit_events
  for each statement execute function audit_events_append_only();

create or replace trigger audit_roots_append_only before update or delete on audit_roots
  for each row execute function audit_events_append_only();

create or replace trigger audit_roots_no_truncate before truncate on audit_roots
  for each statement execute function audit_events_append_only();

create or replace trigger audit_seals_append_only before update or delete on audit_seals
  for each row execute function audit_events_append_only();

create or replace trigger audit_seals_no_truncate before truncate on audit_seals
  for each statement execute function audit_events_append_only();
