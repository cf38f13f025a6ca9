-- Domains that a code came back from by mail, each by its keyed digest: mails there are not counted together.
CREATE TABLE "email_domains" (
	"name" text PRIMARY KEY NOT NULL,
	"verified_at" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "email_domains_age" ON "email_domains" USING btree ("verified_at");
