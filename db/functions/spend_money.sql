-- Spends the price of something that is had at once, such as a question about a number, where both budgets have room for
-- it; false where one has not. Nothing is reserved: nobody gives it back.
create or replace function spend_money(
  app text, is_live boolean, unit text, price numeric, hour_limit numeric, day_limit numeric, moment timestamptz
) returns boolean language plpgsql as $$
#variable_conflict use_variable
declare
  h integer := hour_of(moment);
begin
  insert into spending (app_id, live, currency, day) values (app, is_live, unit, day_of(moment)) on conflict do nothing;
  update spending s set spent[h] = s.spent[h] + price,
    hour_limit = coalesce(spend_money.hour_limit, s.hour_limit), day_limit = coalesce(spend_money.day_limit, s.day_limit)
  where s.app_id = app and s.live = is_live and s.currency = unit and s.day = day_of(moment)
    and (spend_money.hour_limit is null or s.reserved[h] + s.spent[h] + price <= spend_money.hour_limit)
    and (spend_money.day_limit is null or sum_of(s.reserved) + sum_of(s.spent) + price <= spend_money.day_limit);
  return found;
end $$;
