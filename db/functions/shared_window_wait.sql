-- Seconds until a window has room for one more of an owner's: 0 when it has. Room is what is left of the limits, or what the
-- owner has not used of the share that others cannot take from it.
create or replace function shared_window_wait(
  sends timestamptz[], owners text[], owner text, maxima integer[], seconds integer[], share integer, share_seconds integer,
  moment timestamptz
) returns float8 language sql stable as $$
  select least(
    send_window_wait(sends, maxima, seconds, '{}', moment),
    send_window_wait(array(select t from unnest(sends, owners) as held (t, o) where o = owner), array[share],
      array[share_seconds], '{}', moment))
$$;
