-- Every audit row waits for its seal from the moment it is there, in the same transaction.
create function audit_events_to_seal() returns trigger language plpgsql as $$
begin
  insert into audit_unsealed select id from added;
  return null;
end $$;
--> statement-breakpoint
create trigger audit_events_to_seal after insert on audit_events referencing new table as added
  for each statement execute function audit_events_to_seal();
--> statement-breakpoint
insert into audit_unsealed select id from audit_events;
--> statement-breakpoint
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
--> statement-breakpoint
create trigger audit_seals_append_only before update or delete on audit_seals
  for each row execute function audit_events_append_only();
--> statement-breakpoint
create trigger audit_seals_no_truncate before truncate on audit_seals
  for each statement execute function audit_events_append_only();
--> statement-breakpoint
create trigger audit_roots_append_only before update or delete on audit_roots
  for each row execute function audit_events_append_only();
--> statement-breakpoint
create trigger audit_roots_no_truncate before truncate on audit_roots
  for each statement execute function audit_events_append_only();
--> statement-breakpoint
-- Removes the audit of requests whose last row is older than `before`, rows and seals, each request whole and sealed,
-- the oldest first. Gives back their ids: whoever calls it removes them too, in the same transaction, so that none gets
-- another row. It runs with the owner's rights: nobody else may delete such rows.
create function retire_audit(before timestamptz, at_most integer) returns setof text
  language plpgsql security definer set search_path = public, pg_temp as $$
declare
  held text[];
  chains text[];
begin
  if before > now() - interval '90 days' then
    raise exception 'audit rows are kept for 90 days at least' using errcode = 'insufficient_privilege';
  end if;
  -- Held first and judged then: whoever writes a row about a request holds it, and may have done so meanwhile.
  held := array(
    select r.id from otp_requests r
    where r.created_at < before and r.state <> 'pending'
      and not exists (
        select from audit_events e where e.chain = r.id
          and (e.at >= before or exists (select from audit_unsealed u where u.event_id = e.id)))
    order by r.created_at limit at_most for update skip locked);
  chains := array(
    select r.id from unnest(held) r (id)
    where not exists (
      select from audit_events e where e.chain = r.id
        and (e.at >= before or exists (select from audit_unsealed u where u.event_id = e.id))));
  perform set_config('otpilot.retiring', 'on', true);
  delete from audit_seals where chain = any(chains);
  delete from audit_events where chain = any(chains);
  perform set_config('otpilot.retiring', '', true);
  return query select unnest(chains);
end $$;
--> statement-breakpoint
revoke all on function retire_audit(timestamptz, integer) from public;
