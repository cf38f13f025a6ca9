CREATE TABLE "app_hours" (
	"app_id" text NOT NULL REFERENCES "apps"("id"),
	"environment" "key_environment" NOT NULL,
	"country" text NOT NULL,
	"hour" timestamp (6) with time zone NOT NULL,
	"sends" integer NOT NULL,
	"challenged" integer NOT NULL,
	"blocked" integer NOT NULL,
	"quiet" integer NOT NULL,
	"due" integer NOT NULL,
	"reached" integer NOT NULL,
	"matured" integer NOT NULL,
	"converted" integer NOT NULL,
	"locked" integer NOT NULL,
	"summed_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "app_hours_pk" PRIMARY KEY("app_id", "environment", "country", "hour")
);
--> statement-breakpoint
CREATE INDEX "app_hours_hour" ON "app_hours" USING btree ("hour");
--> statement-breakpoint
CREATE TABLE "alerts" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text REFERENCES "apps"("id"),
	"environment" "key_environment" NOT NULL,
	"rule" text NOT NULL,
	"subject" text NOT NULL,
	"severity" text NOT NULL,
	"detail" jsonb NOT NULL,
	"count" integer DEFAULT 1 NOT NULL,
	"opened_at" timestamp (6) with time zone NOT NULL,
	"last_seen_at" timestamp (6) with time zone NOT NULL,
	"quiet" smallint DEFAULT 0 NOT NULL,
	"quiet_at" timestamp (6) with time zone,
	"reminded_at" timestamp (6) with time zone NOT NULL,
	"acknowledged_at" timestamp (6) with time zone,
	"acknowledged_by" text,
	"resolved_at" timestamp (6) with time zone,
	CONSTRAINT "alerts_severity" CHECK (severity in ('warning', 'critical'))
);
--> statement-breakpoint
-- One alert is open of each: whoever raises it a second time finds this row.
CREATE UNIQUE INDEX "alerts_open" ON "alerts" USING btree (coalesce(app_id, ''), "environment", "rule", "subject") WHERE resolved_at is null;
--> statement-breakpoint
CREATE INDEX "alerts_age" ON "alerts" USING btree ("opened_at", "id");
--> statement-breakpoint
CREATE INDEX "alerts_app" ON "alerts" USING btree ("app_id", "opened_at", "id");
--> statement-breakpoint
CREATE TABLE "alert_notices" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	"alert_id" text NOT NULL REFERENCES "alerts"("id") ON DELETE cascade,
	"kind" text NOT NULL,
	"at" timestamp (6) with time zone NOT NULL,
	"due_at" timestamp (6) with time zone,
	"tries" smallint DEFAULT 0 NOT NULL,
	"told_to" text[] DEFAULT '{}' NOT NULL,
	"fault" text
);
--> statement-breakpoint
CREATE INDEX "alert_notices_alert" ON "alert_notices" USING btree ("alert_id");
--> statement-breakpoint
CREATE INDEX "alert_notices_due" ON "alert_notices" USING btree ("due_at") WHERE due_at is not null;
