-- Each send with a publishable key has an id of its own over the one live request, so that wrong checks of one page do
-- not end the code of another.
CREATE TABLE "page_requests" (
	"id" text PRIMARY KEY NOT NULL,
	"request_id" text NOT NULL REFERENCES "otp_requests"("id"),
	"checks" smallint DEFAULT 0 NOT NULL,
	"unanswered" smallint DEFAULT 0 NOT NULL,
	"verified_at" timestamp (6) with time zone,
	"ended_at" timestamp (6) with time zone,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE INDEX "page_requests_request" ON "page_requests" USING btree ("request_id");
--> statement-breakpoint
-- The pages of live requests hold the request's own id so far: it becomes their page's.
insert into page_requests (id, request_id, checks, created_at)
select id, id, checks, created_at from otp_requests where purpose = 'publishable' and state = 'pending';
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "unanswered" smallint DEFAULT 0 NOT NULL;
