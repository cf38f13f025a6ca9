-- Whoever changes how a call ended, or what it cost, moves its money with the same statement: reserved while it is under
-- way, spent from its answer on, given back where it was refused; the provider's own price replaces the estimate whenever
-- it comes. A call that nobody finished stays reserved, and one in doubt counts as made. It counts where it was claimed.
create or replace function settle_money() returns trigger language plpgsql as $$
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

create or replace trigger attempts_settle_money before update on attempts for each row
  when (old.state is distinct from new.state or old.cost_amount is distinct from new.cost_amount
    or old.cost_currency is distinct from new.cost_currency)
  execute function settle_money();
