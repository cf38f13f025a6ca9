create or replace function sum_of(hours numeric[]) returns numeric language sql immutable as $$
  select coalesce(sum(h), 0) from unnest(hours) h
$$;
