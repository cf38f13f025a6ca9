-- Of checks that come after the end the audit keeps the first few: each row of it is kept for a year.
ALTER TABLE "otp_requests" ADD COLUMN "late_checks" smallint DEFAULT 0 NOT NULL;
