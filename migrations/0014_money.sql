-- What an app spends, in one currency, by UTC day: 24 hours each. `reserved` is of calls under way, `spent` of all others.
-- Hour and day are one row, so that one statement can hold both budgets.
CREATE TABLE "spending" (
	"app_id" text NOT NULL REFERENCES "apps"("id"),
	"live" boolean NOT NULL,
	"currency" text NOT NULL,
	"day" date NOT NULL,
	"reserved" numeric[] DEFAULT array_fill(0::numeric, array[24]) NOT NULL,
	"spent" numeric[] DEFAULT array_fill(0::numeric, array[24]) NOT NULL,
	"hour_limit" numeric,
	"day_limit" numeric,
	"least_price" numeric,
	CONSTRAINT "spending_pk" PRIMARY KEY("app_id", "live", "currency", "day")
) WITH (fillfactor = 50);
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "money" jsonb;
--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "estimate_amount" numeric;
--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "estimate_currency" text;
--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "counted_amount" numeric;
--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "counted_at" timestamp (6) with time zone;
--> statement-breakpoint
ALTER TYPE "public"."fault" ADD VALUE 'unaffordable' BEFORE 'throttled';
--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'budget_refused';
--> statement-breakpoint
ALTER TYPE "public"."request_reason" ADD VALUE 'budget_exceeded';
--> statement-breakpoint
ALTER TABLE "otp_requests" DROP CONSTRAINT "otp_requests_state_reason";
--> statement-breakpoint
ALTER TABLE "otp_requests" ADD CONSTRAINT "otp_requests_state_reason" CHECK ((state = 'pending' and reason is null) or (state = 'verified' and reason is not null and reason::text in ('code_matched')) or (state = 'expired' and reason is not null and reason::text in ('lifetime_over')) or (state = 'exhausted' and reason is not null and reason::text in ('no_step_succeeded')) or (state = 'locked' and reason is not null and reason::text in ('too_many_checks')) or (state = 'cancelled' and reason is not null and reason::text in ('requested', 'superseded', 'erased')) or (state = 'failed' and reason is not null and reason::text in ('no_channel_accepted', 'not_started', 'budget_exceeded')));
--> statement-breakpoint
create function sum_of(hours numeric[]) returns numeric language sql immutable as $$
  select coalesce(sum(h), 0) from unnest(hours) h
$$;
--> statement-breakpoint
create function hour_of(moment timestamptz) returns integer language sql stable as $$
  select extract(hour from moment at time zone 'UTC')::integer + 1
$$;
--> statement-breakpoint
create function day_of(moment timestamptz) returns date language sql stable as $$
  select (moment at time zone 'UTC')::date
$$;
--> statement-breakpoint
-- Reserves the price of one call, where both budgets have room for it; false where one has not. Whoever asks at the same
-- time waits for the row and then sees what is left. Without a price nothing is counted, and a budget lets nothing pass.
create function take_money(
  app text, is_live boolean, unit text, price numeric, hour_limit numeric, day_limit numeric, moment timestamptz
) returns boolean language plpgsql as $$
#variable_conflict use_variable
declare
  h integer := hour_of(moment);
begin
  if price is null or unit is null then
    return take_money.hour_limit is null and take_money.day_limit is null;
  end if;
  if price = 0 then
    return true;
  end if;
  insert into spending (app_id, live, currency, day) values (app, is_live, unit, day_of(moment)) on conflict do nothing;
  update spending s set reserved[h] = s.reserved[h] + price, hour_limit = take_money.hour_limit,
    day_limit = take_money.day_limit, least_price = least(s.least_price, price)
  where s.app_id = app and s.live = is_live and s.currency = unit and s.day = day_of(moment)
    and (take_money.hour_limit is null or s.reserved[h] + s.spent[h] + price <= take_money.hour_limit)
    and (take_money.day_limit is null or sum_of(s.reserved) + sum_of(s.spent) + price <= take_money.day_limit);
  return found;
end $$;
--> statement-breakpoint
-- Whoever changes how a call ended, or what it cost, moves its money with the same statement: reserved while it is under
-- way, spent from its answer on, given back where it was refused; the provider's own price replaces the estimate whenever
-- it comes. A call that nobody finished stays reserved, and one in doubt counts as made. It counts where it was claimed.
create function settle_money() returns trigger language plpgsql as $$
declare
  unit text := coalesce(new.estimate_currency, old.cost_currency, new.cost_currency);
  due numeric := coalesce(case when new.cost_currency = unit then new.cost_amount
    when new.state = 'refused' then 0 else coalesce(new.estimate_amount, old.counted_amount) end, 0);
  held numeric := coalesce(old.counted_amount, 0);
  more_reserved numeric := case when new.state = 'open' then due else 0 end - case when old.state = 'open' then held else 0 end;
  more_spent numeric := case when new.state = 'open' then 0 else due end - case when old.state = 'open' then 0 else held end;
  moment timestamptz := coalesce(new.counted_at, new.claimed_at);
  h integer := hour_of(moment);
begin
  if more_reserved = 0 and more_spent = 0 then
    return new;
  end if;
  insert into spending (app_id, live, currency, day)
  select app_id, environment = 'production', unit, day_of(moment) from otp_requests where id = new.request_id
  on conflict do nothing;
  update spending s set reserved[h] = s.reserved[h] + more_reserved, spent[h] = s.spent[h] + more_spent
  from otp_requests r
  where r.id = new.request_id and s.app_id = r.app_id and s.live = (r.environment = 'production')
    and s.currency = unit and s.day = day_of(moment);
  new.counted_amount := due;
  new.counted_at := moment;
  return new;
end $$;
--> statement-breakpoint
create trigger attempts_settle_money before update on attempts for each row
  when (old.state is distinct from new.state or old.cost_amount is distinct from new.cost_amount
    or old.cost_currency is distinct from new.cost_currency)
  execute function settle_money();
