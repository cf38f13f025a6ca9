-- When a run should have shown by then that it goes on, and how often one that was gone was started again.
ALTER TABLE "otp_requests" ADD COLUMN "progress_due_at" timestamp (6) with time zone;
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "restarts" smallint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "restarted_at" timestamp (6) with time zone;
--> statement-breakpoint
CREATE INDEX "otp_requests_progress_due" ON "otp_requests" USING btree ("progress_due_at") WHERE progress_due_at is not null;
