ALTER TABLE "attempts" ADD COLUMN "provider_code" text;
--> statement-breakpoint
ALTER TABLE "unmatched_receipts" ADD COLUMN "provider_code" text;
--> statement-breakpoint
-- What an account answered last, newest first: the alert on accounts that refuse everything reads so many and no more.
CREATE INDEX "attempts_answers" ON "attempts" USING btree ("provider","finished_at") WHERE state in ('accepted', 'refused');
