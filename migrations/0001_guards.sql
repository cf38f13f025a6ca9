-- A request leaves `pending` once and never moves again.
create function otp_requests_legal_transition() returns trigger language plpgsql as $$
begin
  if old.state <> 'pending' and (new.state, new.reason) is distinct from (old.state, old.reason) then
    raise exception 'otp request % is %, it cannot become %', old.id, old.state, new.state
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger otp_requests_legal_transition before update of state, reason on otp_requests
  for each row execute function otp_requests_legal_transition();
--> statement-breakpoint
create function otp_requests_born_pending() returns trigger language plpgsql as $$
begin
  if new.state <> 'pending' then
    raise exception 'an otp request starts as pending' using errcode = 'check_violation';
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger otp_requests_born_pending before insert on otp_requests
  for each row execute function otp_requests_born_pending();
--> statement-breakpoint
-- Audit rows are only ever added.
create function audit_events_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'audit events are append-only' using errcode = 'insufficient_privilege';
end $$;
--> statement-breakpoint
create trigger audit_events_append_only before update or delete on audit_events
  for each row execute function audit_events_append_only();
--> statement-breakpoint
create trigger audit_events_no_truncate before truncate on audit_events
  for each statement execute function audit_events_append_only();
