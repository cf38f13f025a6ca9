CREATE TYPE "public"."attempt_state" AS ENUM('open', 'accepted', 'refused', 'in_doubt');--> statement-breakpoint
CREATE TYPE "public"."audit_type" AS ENUM('requested', 'started', 'queued', 'repeated', 'resend_requested', 'next_requested', 'attempt_claimed', 'attempt_reclaimed', 'attempt_accepted', 'attempt_refused', 'attempt_in_doubt', 'attempt_wasted', 'step_skipped', 'receipt', 'late_receipt', 'plan_ended', 'check_rejected', 'verified', 'locked', 'expired', 'exhausted', 'cancelled', 'failed');--> statement-breakpoint
CREATE TYPE "public"."channel" AS ENUM('sms', 'voice', 'whatsapp', 'ussd', 'email');--> statement-breakpoint
CREATE TYPE "public"."key_environment" AS ENUM('live', 'test');--> statement-breakpoint
CREATE TYPE "public"."fault" AS ENUM('invalid_number', 'blocked', 'config', 'throttled', 'unavailable', 'in_doubt');--> statement-breakpoint
CREATE TYPE "public"."request_reason" AS ENUM('code_matched', 'lifetime_over', 'no_step_succeeded', 'too_many_checks', 'requested', 'superseded', 'no_channel_accepted', 'not_started');--> statement-breakpoint
CREATE TYPE "public"."receipt_status" AS ENUM('accepted', 'sent', 'delivered', 'answered', 'failed.retryable', 'failed.permanent', 'failed.config', 'expired', 'unknown');--> statement-breakpoint
CREATE TYPE "public"."recipient_kind" AS ENUM('phone', 'email');--> statement-breakpoint
CREATE TYPE "public"."request_state" AS ENUM('pending', 'verified', 'expired', 'exhausted', 'locked', 'cancelled', 'failed');--> statement-breakpoint
CREATE TYPE "public"."success_rule" AS ENUM('accepted', 'delivered', 'answered', 'verified');--> statement-breakpoint
CREATE TABLE "api_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL,
	"digest" "bytea" NOT NULL,
	"environment" "key_environment" NOT NULL,
	"scopes" text[] NOT NULL,
	"publishable" boolean DEFAULT false NOT NULL,
	"expires_at" timestamp (6) with time zone,
	"revoked_at" timestamp (6) with time zone,
	"last_used_at" timestamp (6) with time zone,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "apps" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"brand" text NOT NULL,
	"default_country" text,
	"max_expiry_seconds" integer DEFAULT 300 NOT NULL,
	"code_length" smallint DEFAULT 6 NOT NULL,
	"queue_when_down" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "attempts" (
	"id" text PRIMARY KEY NOT NULL,
	"request_id" text NOT NULL,
	"number" smallint NOT NULL,
	"step" smallint NOT NULL,
	"send_no" smallint NOT NULL,
	"try_no" smallint NOT NULL,
	"channel" "channel" NOT NULL,
	"provider" text NOT NULL,
	"success" "success_rule" NOT NULL,
	"state" "attempt_state" DEFAULT 'open' NOT NULL,
	"fault" "fault",
	"status" "receipt_status",
	"status_rank" smallint DEFAULT -1 NOT NULL,
	"callback_digest" "bytea" NOT NULL,
	"provider_message_id" text,
	"cost_amount" numeric,
	"cost_currency" text,
	"wasted" boolean DEFAULT false NOT NULL,
	"run_id" text NOT NULL,
	"claimed_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"finished_at" timestamp (6) with time zone,
	"status_at" timestamp (6) with time zone,
	CONSTRAINT "attempts_request_id_number_unique" UNIQUE("request_id","number"),
	CONSTRAINT "attempts_request_id_send_no_try_no_unique" UNIQUE("request_id","send_no","try_no")
);
--> statement-breakpoint
CREATE TABLE "audit_events" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_events_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"request_id" text NOT NULL,
	"app_id" text NOT NULL,
	"sequence" integer NOT NULL,
	"type" "audit_type" NOT NULL,
	"actor" text NOT NULL,
	"run_id" text,
	"attempt_id" text,
	"detail" jsonb NOT NULL,
	"at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "audit_events_request_id_sequence_unique" UNIQUE("request_id","sequence")
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"app_id" text NOT NULL,
	"key_mac" "bytea" NOT NULL,
	"body_mac" "bytea" NOT NULL,
	"request_id" text NOT NULL,
	"outcome" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_app_id_key_mac_pk" PRIMARY KEY("app_id","key_mac")
);
--> statement-breakpoint
CREATE TABLE "otp_requests" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL,
	"recipient_id" text NOT NULL,
	"purpose" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"state" "request_state" DEFAULT 'pending' NOT NULL,
	"reason" "request_reason",
	"risk" text DEFAULT 'normal' NOT NULL,
	"country" text,
	"locale" text NOT NULL,
	"brand" text NOT NULL,
	"message_ciphertext" "bytea",
	"metadata_ciphertext" "bytea",
	"seal_kid" text,
	"plan" jsonb NOT NULL,
	"code_salt" "bytea",
	"code_mac" "bytea",
	"code_kid" text NOT NULL,
	"code_generation" integer DEFAULT 1 NOT NULL,
	"code_length" smallint NOT NULL,
	"checks" smallint DEFAULT 0 NOT NULL,
	"max_checks" smallint NOT NULL,
	"audit_seq" integer DEFAULT 0 NOT NULL,
	"attempt_seq" integer DEFAULT 0 NOT NULL,
	"sends" smallint DEFAULT 1 NOT NULL,
	"current_step" smallint DEFAULT 0 NOT NULL,
	"leave_step" smallint DEFAULT -1 NOT NULL,
	"resend_seq" smallint DEFAULT 0 NOT NULL,
	"resend_step" jsonb,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"queued" boolean DEFAULT false NOT NULL,
	"workflow_started_at" timestamp (6) with time zone,
	"run_id" text,
	"signal_due_at" timestamp (6) with time zone,
	"swept_at" timestamp (6) with time zone,
	"delivered_at" timestamp (6) with time zone,
	"succeeded_at" timestamp (6) with time zone,
	"plan_ended_at" timestamp (6) with time zone,
	"ended_at" timestamp (6) with time zone,
	CONSTRAINT "otp_requests_state_reason" CHECK ((state = 'pending' and reason is null) or (state = 'verified' and reason is not null and reason in ('code_matched')) or (state = 'expired' and reason is not null and reason in ('lifetime_over')) or (state = 'exhausted' and reason is not null and reason in ('no_step_succeeded')) or (state = 'locked' and reason is not null and reason in ('too_many_checks')) or (state = 'cancelled' and reason is not null and reason in ('requested', 'superseded')) or (state = 'failed' and reason is not null and reason in ('no_channel_accepted', 'not_started'))),
	CONSTRAINT "otp_requests_checks" CHECK (checks between 0 and max_checks)
);
--> statement-breakpoint
CREATE TABLE "preferences" (
	"recipient_id" text PRIMARY KEY NOT NULL,
	"channel" "channel" NOT NULL,
	"updated_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "receipts" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"attempt_id" text NOT NULL,
	"provider" text NOT NULL,
	"event_key" text NOT NULL,
	"status" "receipt_status" NOT NULL,
	"raw_status" text NOT NULL,
	"late" boolean NOT NULL,
	"provider_at" timestamp (6) with time zone,
	"received_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "receipts_provider_event_key_unique" UNIQUE("provider","event_key")
);
--> statement-breakpoint
CREATE TABLE "recipients" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL,
	"kind" "recipient_kind" NOT NULL,
	"index" "bytea" NOT NULL,
	"index_kid" text NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"kid" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "recipients_app_id_kind_index_unique" UNIQUE("app_id","kind","index")
);
--> statement-breakpoint
CREATE TABLE "request_contexts" (
	"request_id" text PRIMARY KEY NOT NULL,
	"ip" "inet",
	"consent" jsonb
);
--> statement-breakpoint
CREATE TABLE "send_windows" (
	"recipient_id" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"sends" timestamp (6) with time zone[] NOT NULL,
	CONSTRAINT "send_windows_recipient_id_environment_pk" PRIMARY KEY("recipient_id","environment")
);
--> statement-breakpoint
CREATE TABLE "ussd_windows" (
	"attempt_id" text PRIMARY KEY NOT NULL,
	"request_id" text NOT NULL,
	"provider" text NOT NULL,
	"global_index" "bytea" NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_app_id_apps_id_fk" FOREIGN KEY ("app_id") REFERENCES "public"."apps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_request_id_otp_requests_id_fk" FOREIGN KEY ("request_id") REFERENCES "public"."otp_requests"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_events" ADD CONSTRAINT "audit_events_request_id_otp_requests_id_fk" FOREIGN KEY ("request_id") REFERENCES "public"."otp_requests"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "otp_requests" ADD CONSTRAINT "otp_requests_app_id_apps_id_fk" FOREIGN KEY ("app_id") REFERENCES "public"."apps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "otp_requests" ADD CONSTRAINT "otp_requests_recipient_id_recipients_id_fk" FOREIGN KEY ("recipient_id") REFERENCES "public"."recipients"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_recipient_id_recipients_id_fk" FOREIGN KEY ("recipient_id") REFERENCES "public"."recipients"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "receipts" ADD CONSTRAINT "receipts_attempt_id_attempts_id_fk" FOREIGN KEY ("attempt_id") REFERENCES "public"."attempts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "recipients" ADD CONSTRAINT "recipients_app_id_apps_id_fk" FOREIGN KEY ("app_id") REFERENCES "public"."apps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "request_contexts" ADD CONSTRAINT "request_contexts_request_id_otp_requests_id_fk" FOREIGN KEY ("request_id") REFERENCES "public"."otp_requests"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "send_windows" ADD CONSTRAINT "send_windows_recipient_id_recipients_id_fk" FOREIGN KEY ("recipient_id") REFERENCES "public"."recipients"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "ussd_windows" ADD CONSTRAINT "ussd_windows_attempt_id_attempts_id_fk" FOREIGN KEY ("attempt_id") REFERENCES "public"."attempts"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "attempts_callback" ON "attempts" USING btree ("callback_digest");--> statement-breakpoint
CREATE INDEX "attempts_message" ON "attempts" USING btree ("provider","provider_message_id");--> statement-breakpoint
CREATE INDEX "attempts_faults" ON "attempts" USING btree ("finished_at","provider") WHERE fault is not null;--> statement-breakpoint
CREATE INDEX "idempotency_keys_request" ON "idempotency_keys" USING btree ("request_id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_age" ON "idempotency_keys" USING btree ("created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "otp_requests_live" ON "otp_requests" USING btree ("app_id","recipient_id","environment","purpose") WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX "otp_requests_recipient" ON "otp_requests" USING btree ("recipient_id","purpose","created_at");--> statement-breakpoint
CREATE INDEX "otp_requests_app" ON "otp_requests" USING btree ("app_id","created_at","id");--> statement-breakpoint
CREATE INDEX "otp_requests_open" ON "otp_requests" USING btree ("expires_at") WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX "otp_requests_unstarted" ON "otp_requests" USING btree ("created_at") WHERE state = 'pending' and workflow_started_at is null;--> statement-breakpoint
CREATE INDEX "otp_requests_unclaimed" ON "otp_requests" USING btree ("workflow_started_at") WHERE state = 'pending' and attempt_seq = 0;--> statement-breakpoint
CREATE INDEX "otp_requests_signal_due" ON "otp_requests" USING btree ("signal_due_at") WHERE signal_due_at is not null;--> statement-breakpoint
CREATE INDEX "receipts_attempt" ON "receipts" USING btree ("attempt_id");--> statement-breakpoint
CREATE INDEX "ussd_windows_index" ON "ussd_windows" USING btree ("global_index","expires_at");--> statement-breakpoint
CREATE INDEX "ussd_windows_expiry" ON "ussd_windows" USING btree ("expires_at");