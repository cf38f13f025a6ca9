-- Messages of people that were acted upon, each by a digest of its provider's id: one that comes again changes nothing.
CREATE TABLE "inbound_messages" (
	"digest" bytea PRIMARY KEY NOT NULL,
	"recipients" text[] DEFAULT '{}' NOT NULL,
	"seen_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE INDEX "inbound_messages_age" ON "inbound_messages" USING btree ("seen_at");
