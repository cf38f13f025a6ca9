-- What each message of a request is held against when its call is claimed; wiped at the end. Requests of before have none:
-- their messages were counted when they were sent.
ALTER TABLE "otp_requests" ADD COLUMN "guard" jsonb;
--> statement-breakpoint
-- The resend that a call serves, 0 for the plan's own send of a step; and its entry in the window of messages.
ALTER TABLE "attempts" ADD COLUMN "resend_seq" smallint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "message_at" timestamp (6) with time zone;
--> statement-breakpoint
-- Seconds until a window has room for one more of an owner's: 0 when it has. Room is what is left of the limits, or what the
-- owner has not used of the share that others cannot take from it.
create function shared_window_wait(
  sends timestamptz[], owners text[], owner text, maxima integer[], seconds integer[], share integer, share_seconds integer,
  moment timestamptz
) returns float8 language sql stable as $$
  select least(
    send_window_wait(sends, maxima, seconds, '{}', moment),
    send_window_wait(array(select t from unnest(sends, owners) as held (t, o) where o = owner), array[share],
      array[share_seconds], '{}', moment))
$$;
