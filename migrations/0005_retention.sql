-- What erasure and retention set, and what they find their rows by.
alter table otp_requests add column erased boolean not null default false;
--> statement-breakpoint
alter table attempts add column callback_refused_at timestamp (6) with time zone;
--> statement-breakpoint
alter table request_contexts add column created_at timestamp (6) with time zone;
--> statement-breakpoint
update request_contexts c set created_at = r.created_at from otp_requests r where r.id = c.request_id;
--> statement-breakpoint
alter table request_contexts alter column created_at set default now(), alter column created_at set not null;
--> statement-breakpoint
create index request_contexts_age on request_contexts (created_at);
--> statement-breakpoint
create index otp_requests_age on otp_requests (created_at);
--> statement-breakpoint
create index otp_requests_texts on otp_requests (ended_at)
  where message_ciphertext is not null or metadata_ciphertext is not null;
--> statement-breakpoint
create index recipients_age on recipients (created_at, id) where erased_at is null;
--> statement-breakpoint
create index recipients_erased on recipients (erased_at) where erased_at is not null;
