-- Breakers, pings, the record of what each provider achieved, and outcomes that providers are still to be told.
create table "provider_breakers" (
	"provider" text not null,
	"channel" "channel" not null,
	"open" boolean default false not null,
	"faults" timestamp (6) with time zone[] default '{}' not null,
	"fault" "fault",
	"by_ping" boolean default false not null,
	"opened_at" timestamp (6) with time zone,
	"closed_at" timestamp (6) with time zone,
	"probe_at" timestamp (6) with time zone,
	"leased_until" timestamp (6) with time zone,
	"probe_no" integer default 0 not null,
	"failed_probes" integer default 0 not null,
	constraint "provider_breakers_provider_channel_pk" primary key("provider","channel"),
	constraint "provider_breakers_times" check (not open or (opened_at is not null and probe_at is not null))
);
--> statement-breakpoint
create index "provider_breakers_open" on "provider_breakers" using btree ("provider") where open;
--> statement-breakpoint
create table "provider_pings" (
	"provider" text primary key not null,
	"at" timestamp (6) with time zone not null,
	"fault" "fault",
	"failures" integer not null,
	"milliseconds" integer not null,
	"since" timestamp (6) with time zone not null
);
--> statement-breakpoint
create table "provider_ping_hours" (
	"hour" timestamp (6) with time zone not null,
	"provider" text not null,
	"good" integer not null,
	"bad" integer not null,
	constraint "provider_ping_hours_hour_provider_pk" primary key("hour","provider")
);
--> statement-breakpoint
create table "provider_hours" (
	"hour" timestamp (6) with time zone not null,
	"provider" text not null,
	"channel" "channel" not null,
	"country" text not null,
	"states" jsonb not null,
	"faults" jsonb not null,
	"receipts" jsonb not null,
	"success" jsonb not null,
	"costs" jsonb not null,
	"accept_ms" jsonb not null,
	"receipt_ms" jsonb not null,
	"summed_at" timestamp (6) with time zone not null,
	constraint "provider_hours_hour_provider_channel_country_pk" primary key("hour","provider","channel","country")
);
--> statement-breakpoint
-- Breakers count for themselves now; the record is summed by the time of the claim.
drop index "attempts_faults";
--> statement-breakpoint
create index "attempts_claimed" on "attempts" using btree ("claimed_at");
--> statement-breakpoint
alter table "otp_requests" add column "outcome_due_at" timestamp (6) with time zone;
--> statement-breakpoint
create index "otp_requests_outcome_due" on "otp_requests" using btree ("outcome_due_at") where outcome_due_at is not null;
--> statement-breakpoint
alter type "audit_type" add value 'breaker_opened';
--> statement-breakpoint
alter type "audit_type" add value 'breaker_closed';
