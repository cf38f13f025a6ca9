-- The windows of sends are of more than recipients from now on: each has a name. What counted before goes on counting.
ALTER TABLE "send_windows" ADD COLUMN "name" text;--> statement-breakpoint
ALTER TABLE "send_windows" ADD COLUMN "partners" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "send_windows" ADD COLUMN "expires_at" timestamp (6) with time zone;--> statement-breakpoint
update send_windows set name = concat_ws('|', 'recipient', environment, recipient_id),
  expires_at = coalesce(sends[array_upper(sends, 1)], now()) + interval '10 minutes';--> statement-breakpoint
ALTER TABLE "send_windows" DROP CONSTRAINT "send_windows_recipient_id_environment_pk";--> statement-breakpoint
ALTER TABLE "send_windows" ALTER COLUMN "recipient_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "send_windows" ALTER COLUMN "expires_at" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "send_windows" ADD PRIMARY KEY ("name");--> statement-breakpoint
CREATE INDEX "send_windows_recipient" ON "send_windows" USING btree ("recipient_id") WHERE recipient_id is not null;--> statement-breakpoint
-- Of blocks of rows: an index of each row would have every send write it anew.
CREATE INDEX "send_windows_expiry" ON "send_windows" USING brin ("expires_at");--> statement-breakpoint
-- Seconds until a window has room for one more: 0 when it has. The send that stands in the way of a limit is the one
-- that is `maxima` sends back; where pauses grow, it is the last one, and what is behind it within the first of `seconds`
-- says how long the pause is.
create function send_window_wait(sends timestamptz[], maxima integer[], seconds integer[], pauses integer[], moment timestamptz)
returns float8 language sql stable as $$
  select greatest(0::float8,
    (select max(date_part('epoch', newest[l.most] - moment) + l.span) from unnest(maxima, seconds) as l (most, span)),
    (select date_part('epoch', newest[1] - moment) + pauses[least(count(*), cardinality(pauses))]
      from unnest(newest) t where t > moment - make_interval(secs => seconds[1])))
  from (select array(select t from unnest(sends) t order by t desc)) as ordered (newest)
$$;
