-- The protection mode `quiet` is gone. Its live requests have no code and no run: they end here, with the audit row that
-- every end has, and the apps' event about it.
with ended as (
  update otp_requests set state = 'cancelled', reason = 'requested', ended_at = clock_timestamp(),
    code_salt = null, code_mac = null, audit_seq = audit_seq + 1
  where quiet and state = 'pending'
  returning id, app_id, audit_seq
)
insert into audit_events (request_id, app_id, sequence, type, actor, detail)
select id, app_id, audit_seq, 'cancelled', 'migration', '{"reason": "requested"}' from ended;
--> statement-breakpoint
drop trigger events_tell_of_quiet on events;
--> statement-breakpoint
drop function event_of_quiet_request();
--> statement-breakpoint
-- What was decided in that mode reads as a refusal: nothing was sent then either.
update send_decisions set verdict = 'blocked' where verdict = 'quiet';
--> statement-breakpoint
update send_decisions set mode = 'block' where mode = 'quiet';
--> statement-breakpoint
update app_hours set blocked = blocked + quiet where quiet > 0;
--> statement-breakpoint
alter table app_hours drop column quiet;
--> statement-breakpoint
alter table otp_requests drop column quiet;
--> statement-breakpoint
alter table alerts rename column quiet to no_finding;
--> statement-breakpoint
alter table alerts rename column quiet_at to no_finding_at;
