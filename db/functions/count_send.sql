-- Counts one send in all of its scopes and writes its decision down, in one round trip: a send's cost is counted in
-- them. What it gives back is how the scopes stand now, the send counted; the caller's rules decide then, and a refusal
-- rolls all of this back. Where a block stands that nothing passes, nothing is counted or locked.
-- One argument, since the statement is built anew for each send; its lists are array literals, which cost least to read.
create or replace function count_send(send jsonb) returns json language plpgsql
-- Planned once for a connection, always by the keys: planning each time would cost five times what it does.
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  moment timestamptz := coalesce((send ->> 'at')::timestamptz, clock_timestamp());
  now_s float8 := date_part('epoch', moment);
  rows_to_count text[] := send ->> 'counted';
  rows_to_read text[] := send ->> 'others';
  cold text[] := send ->> 'cold';
  home text[] := send ->> 'home';
  block_name text := send ->> 'block';
  block_place integer := send ->> 'place';
  -- How many seconds each count remembers, and two limits: from `core/protection`, where they are judged.
  pending_s float8 := send -> 'memory' ->> 'pending';
  passed_s float8 := send -> 'memory' ->> 'passed';
  hour_s float8 := send -> 'memory' ->> 'hour';
  day_s float8 := send -> 'memory' ->> 'day';
  ever_s float8 := send -> 'memory' ->> 'ever';
  warm_from float8 := send ->> 'warmFrom';
  places_kept integer := send ->> 'placesKept';
  is_warm boolean;
  made bigint;
  blocks json;
  standings json;
begin
  -- A country where people have come back is not cold.
  is_warm := coalesce((select sum(faded_count(s.passed_ever, now_s - s.at, ever_s)) from send_standings s
    where s.name = any(home)) >= warm_from, false);
  if is_warm then
    rows_to_count := array(select n from unnest(rows_to_count) n where n <> all(cold));
    rows_to_read := array(select n from unnest(rows_to_read) n where n <> all(cold));
  end if;
  select json_agg(json_build_array(b.name, b.asks)) into blocks
    from send_blocks b where b.name = any(rows_to_count || rows_to_read) and b.until > moment and b.lifted_at is null;
  if blocks is not null and not (send ->> 'passes')::boolean then
    return json_build_object('at', moment, 'warm', is_warm, 'blocks', blocks);
  end if;
  insert into send_decisions (request_id, recipient_id, app_id, environment, country, at, verdict, mode, scopes, place, matures_at)
  values (send ->> 'requestId', send ->> 'recipientId', send ->> 'appId', (send ->> 'environment')::key_environment,
    send ->> 'country', moment, 'allowed', send ->> 'mode', rows_to_count, block_place,
    moment + make_interval(secs => (send ->> 'maturesAfter')::float8))
  returning id into made;
  with now_counted as (
    -- In the order of names, as everybody does: two sends never wait for each other.
    insert into send_standings as s (name, at, pending, places)
    select n, now_s, 1, case when n = block_name then array[block_place] else '{}' end
    from unnest(rows_to_count) n order by n collate "C"
    on conflict (name) do update set at = greatest(s.at, now_s),
      pending = faded_count(s.pending, now_s - s.at, pending_s) + 1,
      passed = faded_count(s.passed, now_s - s.at, passed_s),
      passed_hour = faded_count(s.passed_hour, now_s - s.at, hour_s),
      failed = faded_count(s.failed, now_s - s.at, day_s),
      passed_day = faded_count(s.passed_day, now_s - s.at, day_s),
      passed_ever = faded_count(s.passed_ever, now_s - s.at, ever_s),
      failed_ever = faded_count(s.failed_ever, now_s - s.at, ever_s),
      failed_hour = faded_count(s.failed_hour, now_s - s.at, hour_s),
      places = case when s.name = block_name then (excluded.places || s.places)[1:places_kept] else s.places end
    returning s.*
  )
  select json_agg(known) into standings from (
    select name, pending, passed, passed_hour as "passedHour", failed, passed_day as "passedDay",
      passed_ever as "passedEver", failed_ever as "failedEver", failed_hour as "failedHour", places from now_counted
    union all
    select s.name, faded_count(s.pending, now_s - s.at, pending_s), faded_count(s.passed, now_s - s.at, passed_s),
      faded_count(s.passed_hour, now_s - s.at, hour_s), faded_count(s.failed, now_s - s.at, day_s),
      faded_count(s.passed_day, now_s - s.at, day_s), faded_count(s.passed_ever, now_s - s.at, ever_s),
      faded_count(s.failed_ever, now_s - s.at, ever_s), faded_count(s.failed_hour, now_s - s.at, hour_s), s.places
    from send_standings s where s.name = any(rows_to_read)
  ) known;
  return json_build_object('at', moment, 'warm', is_warm, 'decision', made::text, 'blocks', blocks, 'standings', standings);
end $$;
