-- That a code came back from a recipient, and the channel that it prefers, belong to the environment that it was said in:
-- a test key reads its codes in the sandbox, so what it says about a number is none about the real one.
CREATE TABLE "recipient_verifications" (
	"recipient_id" text NOT NULL REFERENCES "recipients"("id"),
	"environment" "key_environment" NOT NULL,
	"verified_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "recipient_verifications_pk" PRIMARY KEY("recipient_id", "environment")
);
--> statement-breakpoint
-- Where a verified request says in which environment it was; where none is left, it counts for tests only: nobody knows
-- whether the real number ever came back.
insert into recipient_verifications (recipient_id, environment, verified_at)
select r.id, q.environment, least(max(q.ended_at), r.verified_at)
from recipients r join otp_requests q on q.recipient_id = r.id
where r.verified_at is not null and r.erased_at is null and q.state = 'verified'
group by r.id, q.environment;
--> statement-breakpoint
insert into recipient_verifications (recipient_id, environment, verified_at)
select r.id, e.environment, r.verified_at
from recipients r cross join (values ('staging'::key_environment), ('development'::key_environment)) e (environment)
where r.verified_at is not null and r.erased_at is null
	and not exists (select from recipient_verifications v where v.recipient_id = r.id);
--> statement-breakpoint
ALTER TABLE "recipients" DROP COLUMN "verified_at";
--> statement-breakpoint
-- Nobody wrote down which key said what a recipient prefers: it holds in every environment, so that no user loses it.
ALTER TABLE "preferences" ADD COLUMN "environment" "key_environment" DEFAULT 'production' NOT NULL;
--> statement-breakpoint
ALTER TABLE "preferences" DROP CONSTRAINT "preferences_pkey";
--> statement-breakpoint
ALTER TABLE "preferences" ALTER COLUMN "environment" DROP DEFAULT;
--> statement-breakpoint
insert into preferences (recipient_id, channel, updated_at, environment)
select recipient_id, channel, updated_at, e.environment
from preferences cross join (values ('staging'::key_environment), ('development'::key_environment)) e (environment);
--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_pk" PRIMARY KEY("recipient_id", "environment");
