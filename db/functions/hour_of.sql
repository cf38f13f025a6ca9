create or replace function hour_of(moment timestamptz) returns integer language sql stable as $$
  select extract(hour from moment at time zone 'UTC')::integer + 1
$$;
