-- Seconds until a window has room for one more: 0 when it has. The send that stands in the way of a limit is the one
-- that is `maxima` sends back; where pauses grow, it is the last one, and what is behind it within the first of `seconds`
-- says how long the pause is.
create or replace function send_window_wait(sends timestamptz[], maxima integer[], seconds integer[], pauses integer[], moment timestamptz)
returns float8 language sql stable as $$
  select greatest(0::float8,
    (select max(date_part('epoch', newest[l.most] - moment) + l.span) from unnest(maxima, seconds) as l (most, span)),
    (select date_part('epoch', newest[1] - moment) + pauses[least(count(*), cardinality(pauses))]
      from unnest(newest) t where t > moment - make_interval(secs => seconds[1])))
  from (select array(select t from unnest(sends) t order by t desc)) as ordered (newest)
$$;
