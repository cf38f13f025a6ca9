-- Codes that providers make, and providers that are asked for their reports.
create table "delegated_codes" (
	"provider" text not null,
	"number_index" "bytea" not null,
	"request_id" text not null,
	"attempt_id" text not null,
	"channel" "channel" not null,
	"expires_at" timestamp (6) with time zone not null,
	"forwarded" smallint default 0 not null,
	"checking_until" timestamp (6) with time zone,
	constraint "delegated_codes_provider_number_index_pk" primary key("provider","number_index")
);
--> statement-breakpoint
create index "delegated_codes_request" on "delegated_codes" using btree ("request_id");
--> statement-breakpoint
create index "delegated_codes_expiry" on "delegated_codes" using btree ("expires_at");
--> statement-breakpoint
alter table "attempts" add column "delegated" boolean default false not null;
--> statement-breakpoint
alter table "attempts" add column "poll_due_at" timestamp (6) with time zone;
--> statement-breakpoint
create index "attempts_poll_due" on "attempts" using btree ("poll_due_at") where poll_due_at is not null;
--> statement-breakpoint
alter type "audit_type" add value 'check_forwarded';
