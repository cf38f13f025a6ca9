-- Reserves the price of one call, where both budgets have room for it; false where one has not. Whoever asks at the same
-- time waits for the row and then sees what is left. Without a price nothing is counted, and a budget lets nothing pass.
create or replace function take_money(
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
