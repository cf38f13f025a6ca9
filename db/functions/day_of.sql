create or replace function day_of(moment timestamptz) returns date language sql stable as $$
  select (moment at time zone 'UTC')::date
$$;
