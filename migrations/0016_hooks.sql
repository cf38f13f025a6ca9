CREATE TABLE "pre_send_hooks" (
	"app_id" text PRIMARY KEY NOT NULL REFERENCES "apps"("id"),
	"url" text NOT NULL,
	"on_failure" text NOT NULL,
	"secret_ciphertext" "bytea" NOT NULL,
	"secret_kid" text NOT NULL,
	"previous_secret_ciphertext" "bytea",
	"previous_secret_kid" text,
	"previous_secret_until" timestamp (6) with time zone,
	"changed_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "pre_send_hooks_on_failure" CHECK (on_failure in ('allow', 'deny', 'challenge'))
);
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "quiet" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
CREATE INDEX "send_decisions_age" ON "send_decisions" USING brin ("at");
--> statement-breakpoint
-- A request that nothing is sent for says so in every event about it, whatever the event: who listens must not take it
-- for one that is on its way. Here, so that no statement that writes events can forget it.
create function event_of_quiet_request() returns trigger language plpgsql as $$
begin
  if exists (select from otp_requests r where r.id = new.request_id and r.quiet) then
    new.detail := new.detail || '{"quiet": true}';
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger events_tell_of_quiet before insert on events
  for each row when (new.request_id is not null) execute function event_of_quiet_request();
