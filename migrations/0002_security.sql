-- Keys were live or test; staging and development keys are both test keys, and those made so far are called staging.
ALTER TYPE "public"."key_environment" RENAME VALUE 'live' TO 'production';--> statement-breakpoint
ALTER TYPE "public"."key_environment" RENAME VALUE 'test' TO 'staging';--> statement-breakpoint
ALTER TYPE "public"."key_environment" ADD VALUE 'development';--> statement-breakpoint
CREATE TYPE "public"."code_alphabet" AS ENUM('digits', 'alphanumeric');--> statement-breakpoint
CREATE TYPE "public"."delivery_state" AS ENUM('due', 'retrying', 'delivered', 'failed');--> statement-breakpoint
CREATE TYPE "public"."event_type" AS ENUM('created', 'sent', 'delivered', 'plan_ended', 'action_required', 'verified', 'failed', 'expired', 'locked', 'cancelled', 'alert', 'test');--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'check_refused';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'budget_locked';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'budget_unlocked';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'callback_refused';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'consent_given';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'consent_withdrawn';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'erased';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'app_created';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'app_changed';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'key_created';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'key_rotated';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'key_revoked';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'endpoint_created';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'endpoint_changed';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'endpoint_deleted';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'event_replayed';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'audit_exported';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'alert';--> statement-breakpoint
ALTER TYPE "public"."request_reason" ADD VALUE 'erased';--> statement-breakpoint
CREATE TABLE "address_windows" (
	"index" "bytea" NOT NULL,
	"environment" "key_environment" NOT NULL,
	"kind" text NOT NULL,
	"calls" timestamp (6) with time zone[] NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "address_windows_index_environment_kind_pk" PRIMARY KEY("index","environment","kind")
);
--> statement-breakpoint
CREATE TABLE "audit_chains" (
	"chain" text PRIMARY KEY NOT NULL,
	"sequence" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_roots" (
	"number" integer PRIMARY KEY NOT NULL,
	"last_seal" bigint NOT NULL,
	"digest" "bytea" NOT NULL,
	"at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_seals" (
	"number" bigint PRIMARY KEY NOT NULL,
	"event_id" bigint NOT NULL,
	"chain" text NOT NULL,
	"sequence" integer NOT NULL,
	"hash" "bytea" NOT NULL,
	"kid" text NOT NULL,
	"sealed_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "audit_seals_event_id_unique" UNIQUE("event_id"),
	CONSTRAINT "audit_seals_chain_sequence_unique" UNIQUE("chain","sequence")
);
--> statement-breakpoint
CREATE TABLE "check_budgets" (
	"recipient_id" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"wrong" timestamp (6) with time zone[] NOT NULL,
	"consecutive" integer NOT NULL,
	CONSTRAINT "check_budgets_recipient_id_environment_pk" PRIMARY KEY("recipient_id","environment")
);
--> statement-breakpoint
CREATE TABLE "event_deliveries" (
	"id" text PRIMARY KEY NOT NULL,
	"event_id" text NOT NULL,
	"endpoint_id" text NOT NULL,
	"state" "delivery_state" DEFAULT 'due' NOT NULL,
	"replays" integer DEFAULT 0 NOT NULL,
	"tries" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp (6) with time zone NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"claimed_at" timestamp (6) with time zone,
	"delivered_at" timestamp (6) with time zone,
	CONSTRAINT "event_deliveries_event_id_endpoint_id_unique" UNIQUE("event_id","endpoint_id")
);
--> statement-breakpoint
CREATE TABLE "event_endpoints" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"url" text NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"types" "event_type"[],
	"secret_ciphertext" "bytea" NOT NULL,
	"secret_kid" text NOT NULL,
	"previous_secret_ciphertext" "bytea",
	"previous_secret_kid" text,
	"previous_secret_until" timestamp (6) with time zone,
	"disabled_at" timestamp (6) with time zone,
	"disabled_reason" text,
	"failing_since" timestamp (6) with time zone,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (6) with time zone
);
--> statement-breakpoint
CREATE TABLE "event_tries" (
	"delivery_id" text NOT NULL,
	"number" integer NOT NULL,
	"at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"milliseconds" integer NOT NULL,
	"http_status" smallint,
	"fault" text,
	CONSTRAINT "event_tries_delivery_id_number_pk" PRIMARY KEY("delivery_id","number")
);
--> statement-breakpoint
CREATE TABLE "events" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"request_id" text,
	"type" "event_type" NOT NULL,
	"detail" jsonb NOT NULL,
	"at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "events_request_id_type_unique" UNIQUE("request_id","type")
);
--> statement-breakpoint
CREATE TABLE "key_quotas" (
	"key_id" text NOT NULL,
	"minute" timestamp (6) with time zone NOT NULL,
	"taken" integer NOT NULL,
	CONSTRAINT "key_quotas_key_id_minute_pk" PRIMARY KEY("key_id","minute")
);
--> statement-breakpoint
CREATE TABLE "opt_outs" (
	"recipient_id" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"source" text NOT NULL,
	"at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"lifted_at" timestamp (6) with time zone,
	CONSTRAINT "opt_outs_recipient_id_environment_pk" PRIMARY KEY("recipient_id","environment")
);
--> statement-breakpoint
CREATE TABLE "spent_challenges" (
	"id" text PRIMARY KEY NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "unknown_checks" (
	"app_id" text NOT NULL,
	"environment" "key_environment" NOT NULL,
	"bucket" smallint NOT NULL,
	"count" bigint NOT NULL,
	"last_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "unknown_checks_app_id_environment_bucket_pk" PRIMARY KEY("app_id","environment","bucket")
);
--> statement-breakpoint
CREATE TABLE "unmatched_receipts" (
	"provider" text NOT NULL,
	"event_key" text NOT NULL,
	"provider_message_id" text NOT NULL,
	"status" "receipt_status" NOT NULL,
	"raw_status" text NOT NULL,
	"provider_at" timestamp (6) with time zone,
	"cost_amount" numeric,
	"cost_currency" text,
	"received_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "unmatched_receipts_provider_event_key_pk" PRIMARY KEY("provider","event_key")
);
--> statement-breakpoint
ALTER TABLE "audit_events" DROP CONSTRAINT "audit_events_request_id_sequence_unique";--> statement-breakpoint
ALTER TABLE "otp_requests" DROP CONSTRAINT "otp_requests_state_reason";--> statement-breakpoint
ALTER TABLE "api_keys" ALTER COLUMN "app_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "request_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "app_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "recipients" ALTER COLUMN "ciphertext" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "name" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "requests_per_minute" integer DEFAULT 6000 NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "replaces" text;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "high_risk_expiry_seconds" integer DEFAULT 180 NOT NULL;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "code_alphabet" "code_alphabet" DEFAULT 'digits' NOT NULL;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "consent_required" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "lengthen_under_guessing" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "region" text;--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "chain" text GENERATED ALWAYS AS (coalesce(request_id, case when app_id is null then 'admin' else 'app:' || app_id end)) STORED NOT NULL;--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "code_alphabet" "code_alphabet" DEFAULT 'digits' NOT NULL;--> statement-breakpoint
ALTER TABLE "recipients" ADD COLUMN "erased_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "event_deliveries" ADD CONSTRAINT "event_deliveries_event_id_events_id_fk" FOREIGN KEY ("event_id") REFERENCES "public"."events"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_deliveries" ADD CONSTRAINT "event_deliveries_endpoint_id_event_endpoints_id_fk" FOREIGN KEY ("endpoint_id") REFERENCES "public"."event_endpoints"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_endpoints" ADD CONSTRAINT "event_endpoints_app_id_apps_id_fk" FOREIGN KEY ("app_id") REFERENCES "public"."apps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_tries" ADD CONSTRAINT "event_tries_delivery_id_event_deliveries_id_fk" FOREIGN KEY ("delivery_id") REFERENCES "public"."event_deliveries"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "events" ADD CONSTRAINT "events_app_id_apps_id_fk" FOREIGN KEY ("app_id") REFERENCES "public"."apps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "events" ADD CONSTRAINT "events_request_id_otp_requests_id_fk" FOREIGN KEY ("request_id") REFERENCES "public"."otp_requests"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "opt_outs" ADD CONSTRAINT "opt_outs_recipient_id_recipients_id_fk" FOREIGN KEY ("recipient_id") REFERENCES "public"."recipients"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "address_windows_expiry" ON "address_windows" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "event_deliveries_due" ON "event_deliveries" USING btree ("endpoint_id","due_at") WHERE state = 'due';--> statement-breakpoint
CREATE INDEX "event_deliveries_retrying" ON "event_deliveries" USING btree ("endpoint_id","due_at") WHERE state = 'retrying';--> statement-breakpoint
CREATE INDEX "event_deliveries_claimed" ON "event_deliveries" USING btree ("endpoint_id","claimed_at") WHERE claimed_at is not null;--> statement-breakpoint
CREATE INDEX "event_deliveries_endpoint" ON "event_deliveries" USING btree ("endpoint_id","created_at","id");--> statement-breakpoint
CREATE INDEX "event_endpoints_app" ON "event_endpoints" USING btree ("app_id","environment") WHERE deleted_at is null;--> statement-breakpoint
CREATE INDEX "events_app" ON "events" USING btree ("app_id","at","id");--> statement-breakpoint
CREATE INDEX "events_age" ON "events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "spent_challenges_expiry" ON "spent_challenges" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "unmatched_receipts_message" ON "unmatched_receipts" USING btree ("provider","provider_message_id");--> statement-breakpoint
CREATE INDEX "unmatched_receipts_age" ON "unmatched_receipts" USING btree ("received_at");--> statement-breakpoint
CREATE INDEX "api_keys_app" ON "api_keys" USING btree ("app_id","created_at");--> statement-breakpoint
CREATE INDEX "audit_events_wrong" ON "audit_events" USING btree ("app_id","at") WHERE type in ('check_rejected', 'locked');--> statement-breakpoint
CREATE INDEX "recipients_kid" ON "recipients" USING btree ("kid","id");--> statement-breakpoint
CREATE INDEX "recipients_index_kid" ON "recipients" USING btree ("index_kid","id");--> statement-breakpoint
ALTER TABLE "audit_events" ADD CONSTRAINT "audit_events_chain_sequence" UNIQUE("chain","sequence");--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_operator" CHECK (app_id is not null or scopes = '{admin}');--> statement-breakpoint
UPDATE "api_keys" SET scopes = ARRAY(SELECT unnest(scopes) INTERSECT SELECT unnest('{send,verify}'::text[]))
  WHERE publishable AND NOT scopes <@ '{send,verify}';--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_publishable" CHECK (not publishable or scopes <@ '{send,verify}');--> statement-breakpoint
ALTER TABLE "apps" ADD CONSTRAINT "apps_code_length" CHECK (code_length between 6 and 10);--> statement-breakpoint
ALTER TABLE "apps" ADD CONSTRAINT "apps_lifetimes" CHECK (max_expiry_seconds between 30 and 600 and high_risk_expiry_seconds between 30 and 600);--> statement-breakpoint
ALTER TABLE "otp_requests" ADD CONSTRAINT "otp_requests_state_reason" CHECK ((state = 'pending' and reason is null) or (state = 'verified' and reason is not null and reason::text in ('code_matched')) or (state = 'expired' and reason is not null and reason::text in ('lifetime_over')) or (state = 'exhausted' and reason is not null and reason::text in ('no_step_succeeded')) or (state = 'locked' and reason is not null and reason::text in ('too_many_checks')) or (state = 'cancelled' and reason is not null and reason::text in ('requested', 'superseded', 'erased')) or (state = 'failed' and reason is not null and reason::text in ('no_channel_accepted', 'not_started')));--> statement-breakpoint
ALTER TABLE "recipients" ADD CONSTRAINT "recipients_erased" CHECK ((erased_at is null) = (ciphertext is not null));--> statement-breakpoint
CREATE INDEX "otp_requests_seal_kid" ON "otp_requests" USING btree ("seal_kid","id") WHERE seal_kid is not null;--> statement-breakpoint
CREATE INDEX "audit_seals_kid" ON "audit_seals" USING brin ("kid");--> statement-breakpoint
CREATE INDEX "audit_events_request" ON "audit_events" USING btree ("request_id") WHERE request_id is not null;--> statement-breakpoint
ALTER TABLE "audit_events" ADD CONSTRAINT "audit_events_sequence" CHECK (sequence > 0);--> statement-breakpoint
ALTER TABLE "audit_seals" ADD CONSTRAINT "audit_seals_place" CHECK (number > 0 and sequence > 0);--> statement-breakpoint
CREATE TABLE "audit_unsealed" (
	"event_id" bigint PRIMARY KEY NOT NULL
);