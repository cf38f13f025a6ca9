CREATE TABLE "list_entries" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text REFERENCES "apps"("id"),
	"verdict" text NOT NULL,
	"kind" text NOT NULL,
	"length" smallint NOT NULL,
	"index" "bytea" NOT NULL,
	"index_kid" text NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"kid" text NOT NULL,
	"expires_at" timestamp (6) with time zone,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "list_entries_verdict" CHECK (verdict in ('allow', 'block')),
	CONSTRAINT "list_entries_kind" CHECK (kind in ('phone_number', 'prefix', 'country', 'network', 'email', 'domain'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX "list_entries_index" ON "list_entries" USING btree ("index");
--> statement-breakpoint
CREATE INDEX "list_entries_app" ON "list_entries" USING btree ("app_id", "id");
--> statement-breakpoint
CREATE INDEX "list_entries_kid" ON "list_entries" USING btree ("kid", "id");
--> statement-breakpoint
CREATE INDEX "list_entries_index_kid" ON "list_entries" USING btree ("index_kid", "id");
--> statement-breakpoint
CREATE TABLE "test_numbers" (
	"id" text PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL REFERENCES "apps"("id"),
	"index" "bytea" NOT NULL,
	"index_kid" text NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"kid" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX "test_numbers_index" ON "test_numbers" USING btree ("index");
--> statement-breakpoint
CREATE INDEX "test_numbers_app" ON "test_numbers" USING btree ("app_id", "id");
--> statement-breakpoint
CREATE TABLE "number_lookups" (
	"index" "bytea" PRIMARY KEY NOT NULL,
	"app_id" text NOT NULL REFERENCES "apps"("id"),
	"provider" text NOT NULL,
	"valid" boolean NOT NULL,
	"line_type" text NOT NULL,
	"risk_score" smallint,
	"looked_up_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "number_lookups_expiry" ON "number_lookups" USING btree ("expires_at");
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "test_number" boolean DEFAULT false NOT NULL;
