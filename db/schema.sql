create type attempt_state as enum (
  'open',
  'accepted',
  'refused',
  'in_doubt'
);

create type audit_type as enum (
  'requested',
  'started',
  'queued',
  'repeated',
  'resend_requested',
  'next_requested',
  'attempt_claimed',
  'attempt_reclaimed',
  'attempt_accepted',
  'attempt_refused',
  'attempt_in_doubt',
  'attempt_wasted',
  'step_skipped',
  'receipt',
  'late_receipt',
  'plan_ended',
  'check_rejected',
  'verified',
  'locked',
  'expired',
  'exhausted',
  'cancelled',
  'failed',
  'check_refused',
  'budget_locked',
  'budget_unlocked',
  'callback_refused',
  'consent_given',
  'consent_withdrawn',
  'erased',
  'app_created',
  'app_changed',
  'key_created',
  'key_rotated',
  'key_revoked',
  'endpoint_created',
  'endpoint_changed',
  'endpoint_deleted',
  'event_replayed',
  'audit_exported',
  'alert',
  'breaker_opened',
  'breaker_closed',
  'check_forwarded',
  'template_changed',
  'template_deleted',
  'block_raised',
  'block_lifted',
  'list_changed',
  'test_number_changed',
  'hook_changed',
  'budget_refused'
);

create type channel as enum (
  'sms',
  'voice',
  'whatsapp',
  'ussd',
  'email'
);

create type code_alphabet as enum (
  'digits',
  'alphanumeric'
);

create type delivery_state as enum (
  'due',
  'retrying',
  'delivered',
  'failed'
);

create type event_type as enum (
  'created',
  'sent',
  'delivered',
  'plan_ended',
  'action_required',
  'verified',
  'failed',
  'expired',
  'locked',
  'cancelled',
  'alert',
  'test'
);

create type fault as enum (
  'invalid_number',
  'blocked',
  'config',
  'unroutable',
  'unaffordable',
  'throttled',
  'unavailable',
  'in_doubt'
);

create type key_environment as enum (
  'production',
  'staging',
  'development'
);

create type receipt_status as enum (
  'accepted',
  'sent',
  'delivered',
  'answered',
  'failed.retryable',
  'failed.permanent',
  'failed.config',
  'expired',
  'unknown'
);

create type recipient_kind as enum (
  'phone',
  'email'
);

create type request_reason as enum (
  'code_matched',
  'lifetime_over',
  'no_step_succeeded',
  'too_many_checks',
  'requested',
  'superseded',
  'no_channel_accepted',
  'not_started',
  'erased',
  'budget_exceeded'
);

create type request_state as enum (
  'pending',
  'verified',
  'expired',
  'exhausted',
  'locked',
  'cancelled',
  'failed'
);

create type success_rule as enum (
  'accepted',
  'delivered',
  'answered',
  'verified'
);

CREATE OR REPLACE FUNCTION public.audit_events_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if tg_op = 'DELETE' and current_setting('otpilot.retiring', true) = 'on' then
    if tg_table_name = 'audit_seals' or (to_jsonb(old)->>'at')::timestamptz < now() - interval '90 days' then
      return old;
    end if;
  end if;
  raise exception '% are append-only', replace(tg_table_name, '_', ' ') using errcode = 'insufficient_privilege';
end $function$;

CREATE OR REPLACE FUNCTION public.audit_events_to_seal()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  insert into audit_unsealed select id from added;
  return null;
end $function$;

CREATE OR REPLACE FUNCTION public.count_send(send jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION public.day_of(moment timestamp with time zone)
 RETURNS date
 LANGUAGE sql
 STABLE
AS $function$
  select (moment at time zone 'UTC')::date
$function$;

CREATE OR REPLACE FUNCTION public.events_from_audit()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  of_channel text;
  told text[];
begin
  -- Compared as text: some of the types are as new as this file, and may not be used before they are committed.
  if new.app_id is null or new.type::text not in ('requested', 'attempt_accepted', 'receipt', 'plan_ended',
    'verified', 'failed', 'locked', 'expired', 'exhausted', 'cancelled', 'budget_locked', 'alert')
  then
    return null;
  end if;
  if not exists (select from event_endpoints where app_id = new.app_id and deleted_at is null) then
    return null;
  end if;

  of_channel := new.detail ->> 'channel';
  told := case
    when new.type::text = 'requested' then '{created}'
    when new.type::text = 'attempt_accepted' and of_channel = 'ussd' then '{sent,action_required}'
    when new.type::text = 'attempt_accepted' then '{sent}'
    when new.type::text = 'receipt' and new.detail ->> 'status' in ('delivered', 'answered') then '{delivered}'
    when new.type::text = 'receipt' then '{}'
    when new.type::text = 'exhausted' then '{expired}'
    -- The recipient is locked out until a person lets them in again.
    when new.type::text = 'budget_locked' then '{alert}'
    else array[new.type::text]
  end;
  if told = '{}' then
    return null;
  end if;

  with subject as (
    select r.environment, jsonb_strip_nulls(jsonb_build_object(
      'sequence', new.sequence,
      'channel', coalesce(of_channel,
        (select a.channel::text from attempts a where a.request_id = r.id order by a.number desc limit 1),
        r.plan -> r.current_step::int ->> 'channel'),
      'provider', new.detail ->> 'provider',
      'attempt_id', new.attempt_id,
      'reason', r.reason,
      -- What was just answered: the attempt's row is written by the statement that wrote this one.
      'instruction', case when new.type::text = 'attempt_accepted'
        then (select a.instruction from attempts a where a.id = new.attempt_id) end,
      'alert', case when new.type::text = 'budget_locked' then 'budget_locked' end)) as detail
    from otp_requests r where r.id = new.request_id
    union all
    -- An alert is about an app. One without an environment concerns what reaches people.
    select place.environment, new.detail - 'environment'
    from unnest(enum_range(null::key_environment)) as place (environment)
    where new.request_id is null and jsonb_typeof(new.detail) = 'object'
      and place.environment::text = coalesce(new.detail ->> 'environment', 'production')
  ), listeners as (
    select s.environment, s.detail, kind.type, e.id as endpoint_id, e.disabled_at
    from subject s
      join unnest(enum_range(null::event_type)) as kind (type) on kind.type::text = any(told)
      join event_endpoints e on e.app_id = new.app_id and e.environment = s.environment and e.deleted_at is null
        and (e.types is null or kind.type = any(e.types))
  ), made as (
    insert into events (id, app_id, environment, request_id, type, detail, at)
    select 'evt_' || replace(gen_random_uuid()::text, '-', ''), new.app_id, environment, new.request_id, type, detail, new.at
    from (select distinct environment, detail, type from listeners) told_of
    on conflict (request_id, type) do nothing
    returning id, environment, type, at
  )
  insert into event_deliveries (id, event_id, endpoint_id, state, created_at)
  select 'dlv_' || replace(gen_random_uuid()::text, '-', ''), made.id, listeners.endpoint_id,
    -- What a disabled endpoint missed can be replayed once it is enabled again.
    case when listeners.disabled_at is null then 'due' else 'failed' end::delivery_state, made.at
  from made join listeners using (environment, type);
  return null;
end $function$;

CREATE OR REPLACE FUNCTION public.faded_count(counted double precision, age double precision, memory double precision)
 RETURNS double precision
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((counted < (0.000001)::double precision) OR (age > ((14)::double precision * memory))) THEN (0)::double precision ELSE (counted * exp(((- GREATEST(age, (0)::double precision)) / memory))) END;

CREATE OR REPLACE FUNCTION public.hour_of(moment timestamp with time zone)
 RETURNS integer
 LANGUAGE sql
 STABLE
AS $function$
  select extract(hour from moment at time zone 'UTC')::integer + 1
$function$;

CREATE OR REPLACE FUNCTION public.otp_requests_born_pending()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if new.state <> 'pending' then
    raise exception 'an otp request starts as pending' using errcode = 'check_violation';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION public.otp_requests_legal_transition()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if old.state <> 'pending' and (new.state, new.reason) is distinct from (old.state, old.reason) then
    raise exception 'otp request % is %, it cannot become %', old.id, old.state, new.state
      using errcode = 'check_violation';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION public.retire_audit(before timestamp with time zone, at_most integer)
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
  held text[];
  chains text[];
begin
  if before > now() - interval '90 days' then
    raise exception 'audit rows are kept for 90 days at least' using errcode = 'insufficient_privilege';
  end if;
  -- Held first and judged then: whoever writes a row about a request holds it, and may have done so meanwhile.
  held := array(
    select r.id from otp_requests r
    where r.created_at < before and r.state <> 'pending'
      and not exists (
        select from audit_events e where e.chain = r.id
          and (e.at >= before or exists (select from audit_unsealed u where u.event_id = e.id)))
    order by r.created_at limit at_most for update skip locked);
  chains := array(
    select r.id from unnest(held) r (id)
    where not exists (
      select from audit_events e where e.chain = r.id
        and (e.at >= before or exists (select from audit_unsealed u where u.event_id = e.id))));
  perform set_config('otpilot.retiring', 'on', true);
  delete from audit_seals where chain = any(chains);
  delete from audit_events where chain = any(chains);
  perform set_config('otpilot.retiring', '', true);
  return query select unnest(chains);
end $function$;

CREATE OR REPLACE FUNCTION public.send_window_wait(sends timestamp with time zone[], maxima integer[], seconds integer[], pauses integer[], moment timestamp with time zone)
 RETURNS double precision
 LANGUAGE sql
 STABLE
AS $function$
  select greatest(0::float8,
    (select max(date_part('epoch', newest[l.most] - moment) + l.span) from unnest(maxima, seconds) as l (most, span)),
    (select date_part('epoch', newest[1] - moment) + pauses[least(count(*), cardinality(pauses))]
      from unnest(newest) t where t > moment - make_interval(secs => seconds[1])))
  from (select array(select t from unnest(sends) t order by t desc)) as ordered (newest)
$function$;

CREATE OR REPLACE FUNCTION public.settle_money()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION public.shared_window_wait(sends timestamp with time zone[], owners text[], owner text, maxima integer[], seconds integer[], share integer, share_seconds integer, moment timestamp with time zone)
 RETURNS double precision
 LANGUAGE sql
 STABLE
AS $function$
  select least(
    send_window_wait(sends, maxima, seconds, '{}', moment),
    send_window_wait(array(select t from unnest(sends, owners) as held (t, o) where o = owner), array[share],
      array[share_seconds], '{}', moment))
$function$;

CREATE OR REPLACE FUNCTION public.spend_money(app text, is_live boolean, unit text, price numeric, hour_limit numeric, day_limit numeric, moment timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION public.sum_of(hours numeric[])
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select coalesce(sum(h), 0) from unnest(hours) h
$function$;

CREATE OR REPLACE FUNCTION public.take_money(app text, is_live boolean, unit text, price numeric, hour_limit numeric, day_limit numeric, moment timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
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
end $function$;

create table address_windows (
  index bytea not null,
  environment key_environment not null,
  kind text not null,
  calls timestamp(6) with time zone[] not null,
  expires_at timestamp(6) with time zone not null,
  constraint address_windows_index_environment_kind_pk PRIMARY KEY (index, environment, kind)
);

create table alert_notices (
  id bigint not null,
  alert_id text not null,
  kind text not null,
  at timestamp(6) with time zone not null,
  due_at timestamp(6) with time zone,
  tries smallint not null default 0,
  told_to text[] not null default '{}'::text[],
  fault text,
  constraint alert_notices_pkey PRIMARY KEY (id),
  constraint alert_notices_alert_id_alerts_id_fk FOREIGN KEY (alert_id) REFERENCES alerts(id) ON DELETE CASCADE
);

create table alerts (
  id text not null,
  app_id text,
  environment key_environment not null,
  rule text not null,
  subject text not null,
  severity text not null,
  detail jsonb not null,
  count integer not null default 1,
  opened_at timestamp(6) with time zone not null,
  last_seen_at timestamp(6) with time zone not null,
  no_finding smallint not null default 0,
  no_finding_at timestamp(6) with time zone,
  reminded_at timestamp(6) with time zone not null,
  acknowledged_at timestamp(6) with time zone,
  acknowledged_by text,
  resolved_at timestamp(6) with time zone,
  constraint alerts_pkey PRIMARY KEY (id),
  constraint alerts_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint alerts_severity CHECK ((severity = ANY (ARRAY['warning'::text, 'critical'::text])))
);

create table api_keys (
  id text not null,
  app_id text,
  digest bytea not null,
  environment key_environment not null,
  scopes text[] not null,
  publishable boolean not null default false,
  expires_at timestamp(6) with time zone,
  revoked_at timestamp(6) with time zone,
  last_used_at timestamp(6) with time zone,
  created_at timestamp(6) with time zone not null default now(),
  name text not null default ''::text,
  requests_per_minute integer not null default 6000,
  replaces text,
  constraint api_keys_pkey PRIMARY KEY (id),
  constraint api_keys_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint api_keys_operator CHECK (((app_id IS NOT NULL) OR (scopes = '{admin}'::text[]))),
  constraint api_keys_publishable CHECK (((NOT publishable) OR (scopes <@ '{send,verify}'::text[])))
);

create table app_hours (
  app_id text not null,
  environment key_environment not null,
  country text not null,
  hour timestamp(6) with time zone not null,
  sends integer not null,
  challenged integer not null,
  blocked integer not null,
  due integer not null,
  reached integer not null,
  matured integer not null,
  converted integer not null,
  locked integer not null,
  summed_at timestamp(6) with time zone not null,
  constraint app_hours_app_id_environment_country_hour_pk PRIMARY KEY (app_id, environment, country, hour),
  constraint app_hours_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id)
);

create table apps (
  id text not null,
  name text not null,
  brand text not null,
  default_country text,
  max_expiry_seconds integer not null default 300,
  code_length smallint not null default 6,
  queue_when_down boolean not null default false,
  created_at timestamp(6) with time zone not null default now(),
  high_risk_expiry_seconds integer not null default 180,
  code_alphabet code_alphabet not null default 'digits'::code_alphabet,
  consent_required boolean not null default false,
  lengthen_under_guessing boolean not null default true,
  region text,
  template_revision integer not null default 0,
  autofill_domain text,
  android_app_hash text,
  page_channels text[],
  constraint apps_pkey PRIMARY KEY (id),
  constraint apps_code_length CHECK (((code_length >= 6) AND (code_length <= 10))),
  constraint apps_lifetimes CHECK ((((max_expiry_seconds >= 30) AND (max_expiry_seconds <= 600)) AND ((high_risk_expiry_seconds >= 30) AND (high_risk_expiry_seconds <= 600))))
);

create table attempts (
  id text not null,
  request_id text not null,
  number smallint not null,
  step smallint not null,
  send_no smallint not null,
  try_no smallint not null,
  channel channel not null,
  provider text not null,
  success success_rule not null,
  state attempt_state not null default 'open'::attempt_state,
  fault fault,
  status receipt_status,
  status_rank smallint not null default '-1'::integer,
  callback_digest bytea not null,
  provider_message_id text,
  cost_amount numeric,
  cost_currency text,
  wasted boolean not null default false,
  run_id text not null,
  claimed_at timestamp(6) with time zone not null default now(),
  finished_at timestamp(6) with time zone,
  status_at timestamp(6) with time zone,
  callback_refused_at timestamp(6) with time zone,
  delegated boolean not null default false,
  poll_due_at timestamp(6) with time zone,
  instruction text,
  estimate_amount numeric,
  estimate_currency text,
  counted_amount numeric,
  counted_at timestamp(6) with time zone,
  provider_code text,
  resend_seq smallint not null default 0,
  message_at timestamp(6) with time zone,
  constraint attempts_pkey PRIMARY KEY (id),
  constraint attempts_request_id_number_unique UNIQUE (request_id, number),
  constraint attempts_request_id_send_no_try_no_unique UNIQUE (request_id, send_no, try_no),
  constraint attempts_request_id_otp_requests_id_fk FOREIGN KEY (request_id) REFERENCES otp_requests(id)
);

create table audit_chains (
  chain text not null,
  sequence integer not null,
  constraint audit_chains_pkey PRIMARY KEY (chain)
);

create table audit_events (
  id bigint not null,
  request_id text,
  app_id text,
  sequence integer not null,
  type audit_type not null,
  actor text not null,
  run_id text,
  attempt_id text,
  detail jsonb not null,
  at timestamp(6) with time zone not null default clock_timestamp(),
  chain text not null default COALESCE(request_id,
CASE
    WHEN (app_id IS NULL) THEN 'admin'::text
    ELSE ('app:'::text || app_id)
END),
  constraint audit_events_pkey PRIMARY KEY (id),
  constraint audit_events_chain_sequence UNIQUE (chain, sequence),
  constraint audit_events_request_id_otp_requests_id_fk FOREIGN KEY (request_id) REFERENCES otp_requests(id),
  constraint audit_events_sequence CHECK ((sequence > 0))
);

create table audit_roots (
  number integer not null,
  last_seal bigint not null,
  digest bytea not null,
  at timestamp(6) with time zone not null default now(),
  constraint audit_roots_pkey PRIMARY KEY (number)
);

create table audit_seals (
  number bigint not null,
  event_id bigint not null,
  chain text not null,
  sequence integer not null,
  hash bytea not null,
  kid text not null,
  sealed_at timestamp(6) with time zone not null default now(),
  constraint audit_seals_pkey PRIMARY KEY (number),
  constraint audit_seals_chain_sequence_unique UNIQUE (chain, sequence),
  constraint audit_seals_event_id_unique UNIQUE (event_id),
  constraint audit_seals_place CHECK (((number > 0) AND (sequence > 0)))
);

create table audit_unsealed (
  event_id bigint not null,
  constraint audit_unsealed_pkey PRIMARY KEY (event_id)
);

create table check_budgets (
  recipient_id text not null,
  environment key_environment not null,
  wrong timestamp(6) with time zone[] not null,
  consecutive integer not null,
  constraint check_budgets_recipient_id_environment_pk PRIMARY KEY (recipient_id, environment)
);

create table delegated_codes (
  provider text not null,
  number_index bytea not null,
  request_id text not null,
  attempt_id text not null,
  channel channel not null,
  expires_at timestamp(6) with time zone not null,
  forwarded smallint not null default 0,
  checking_until timestamp(6) with time zone,
  constraint delegated_codes_provider_number_index_pk PRIMARY KEY (provider, number_index)
);

create table email_domains (
  name text not null,
  verified_at timestamp(6) with time zone not null,
  constraint email_domains_pkey PRIMARY KEY (name)
);

create table event_deliveries (
  id text not null,
  event_id text not null,
  endpoint_id text not null,
  state delivery_state not null default 'due'::delivery_state,
  replays integer not null default 0,
  tries integer not null default 0,
  created_at timestamp(6) with time zone not null,
  due_at timestamp(6) with time zone not null default now(),
  claimed_at timestamp(6) with time zone,
  delivered_at timestamp(6) with time zone,
  constraint event_deliveries_pkey PRIMARY KEY (id),
  constraint event_deliveries_event_id_endpoint_id_unique UNIQUE (event_id, endpoint_id),
  constraint event_deliveries_endpoint_id_event_endpoints_id_fk FOREIGN KEY (endpoint_id) REFERENCES event_endpoints(id),
  constraint event_deliveries_event_id_events_id_fk FOREIGN KEY (event_id) REFERENCES events(id) ON DELETE CASCADE
);

create table event_endpoints (
  id text not null,
  app_id text not null,
  environment key_environment not null,
  url text not null,
  description text not null default ''::text,
  types event_type[],
  secret_ciphertext bytea not null,
  secret_kid text not null,
  previous_secret_ciphertext bytea,
  previous_secret_kid text,
  previous_secret_until timestamp(6) with time zone,
  disabled_at timestamp(6) with time zone,
  disabled_reason text,
  failing_since timestamp(6) with time zone,
  created_at timestamp(6) with time zone not null default now(),
  deleted_at timestamp(6) with time zone,
  constraint event_endpoints_pkey PRIMARY KEY (id),
  constraint event_endpoints_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id)
);

create table event_tries (
  delivery_id text not null,
  number integer not null,
  at timestamp(6) with time zone not null default now(),
  milliseconds integer not null,
  http_status smallint,
  fault text,
  constraint event_tries_delivery_id_number_pk PRIMARY KEY (delivery_id, number),
  constraint event_tries_delivery_id_event_deliveries_id_fk FOREIGN KEY (delivery_id) REFERENCES event_deliveries(id) ON DELETE CASCADE
);

create table events (
  id text not null,
  app_id text not null,
  environment key_environment not null,
  request_id text,
  type event_type not null,
  detail jsonb not null,
  at timestamp(6) with time zone not null,
  constraint events_pkey PRIMARY KEY (id),
  constraint events_request_id_type_unique UNIQUE (request_id, type),
  constraint events_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint events_request_id_otp_requests_id_fk FOREIGN KEY (request_id) REFERENCES otp_requests(id)
);

create table idempotency_keys (
  app_id text not null,
  key_mac bytea not null,
  body_mac bytea not null,
  request_id text not null,
  outcome text not null,
  created_at timestamp(6) with time zone not null default now(),
  constraint idempotency_keys_app_id_key_mac_pk PRIMARY KEY (app_id, key_mac)
);

create table inbound_messages (
  digest bytea not null,
  recipients text[] not null default '{}'::text[],
  seen_at timestamp(6) with time zone not null default now(),
  constraint inbound_messages_pkey PRIMARY KEY (digest)
);

create table key_quotas (
  key_id text not null,
  minute timestamp(6) with time zone not null,
  taken integer not null,
  constraint key_quotas_key_id_minute_pk PRIMARY KEY (key_id, minute)
);

create table list_entries (
  id text not null,
  app_id text,
  verdict text not null,
  kind text not null,
  length smallint not null,
  index bytea not null,
  index_kid text not null,
  ciphertext bytea not null,
  kid text not null,
  expires_at timestamp(6) with time zone,
  created_at timestamp(6) with time zone not null default now(),
  constraint list_entries_pkey PRIMARY KEY (id),
  constraint list_entries_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint list_entries_kind CHECK ((kind = ANY (ARRAY['phone_number'::text, 'prefix'::text, 'country'::text, 'network'::text, 'email'::text, 'domain'::text]))),
  constraint list_entries_verdict CHECK ((verdict = ANY (ARRAY['allow'::text, 'block'::text])))
);

create table message_templates (
  app_id text not null,
  channel channel not null,
  locale text not null,
  revision integer not null,
  text text,
  subject text,
  html text,
  key_prompt text,
  created_at timestamp(6) with time zone not null default now(),
  constraint message_templates_app_id_channel_locale_revision_pk PRIMARY KEY (app_id, channel, locale, revision),
  constraint message_templates_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id)
);

create table number_lookups (
  index bytea not null,
  app_id text not null,
  provider text not null,
  valid boolean not null,
  line_type text not null,
  risk_score smallint,
  looked_up_at timestamp(6) with time zone not null default now(),
  expires_at timestamp(6) with time zone not null,
  constraint number_lookups_pkey PRIMARY KEY (index),
  constraint number_lookups_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id)
);

create table opt_outs (
  recipient_id text not null,
  environment key_environment not null,
  source text not null,
  at timestamp(6) with time zone not null default now(),
  lifted_at timestamp(6) with time zone,
  constraint opt_outs_recipient_id_environment_pk PRIMARY KEY (recipient_id, environment),
  constraint opt_outs_recipient_id_recipients_id_fk FOREIGN KEY (recipient_id) REFERENCES recipients(id)
);

create table otp_requests (
  id text not null,
  app_id text not null,
  recipient_id text not null,
  purpose text not null,
  environment key_environment not null,
  state request_state not null default 'pending'::request_state,
  reason request_reason,
  risk text not null default 'normal'::text,
  country text,
  locale text not null,
  brand text not null,
  message_ciphertext bytea,
  metadata_ciphertext bytea,
  seal_kid text,
  plan jsonb not null,
  code_salt bytea,
  code_mac bytea,
  code_kid text not null,
  code_generation integer not null default 1,
  code_length smallint not null,
  checks smallint not null default 0,
  max_checks smallint not null,
  audit_seq integer not null default 0,
  attempt_seq integer not null default 0,
  sends smallint not null default 1,
  current_step smallint not null default 0,
  leave_step smallint not null default '-1'::integer,
  resend_seq smallint not null default 0,
  resend_step jsonb,
  created_at timestamp(6) with time zone not null default now(),
  expires_at timestamp(6) with time zone not null,
  queued boolean not null default false,
  workflow_started_at timestamp(6) with time zone,
  run_id text,
  signal_due_at timestamp(6) with time zone,
  swept_at timestamp(6) with time zone,
  delivered_at timestamp(6) with time zone,
  succeeded_at timestamp(6) with time zone,
  plan_ended_at timestamp(6) with time zone,
  ended_at timestamp(6) with time zone,
  code_alphabet code_alphabet not null default 'digits'::code_alphabet,
  erased boolean not null default false,
  outcome_due_at timestamp(6) with time zone,
  template_revision integer not null default 0,
  autofill_domain text,
  android_app_hash text,
  test_number boolean not null default false,
  money jsonb,
  unanswered smallint not null default 0,
  progress_due_at timestamp(6) with time zone,
  restarts smallint not null default 0,
  restarted_at timestamp(6) with time zone,
  guard jsonb,
  late_checks smallint not null default 0,
  constraint otp_requests_pkey PRIMARY KEY (id),
  constraint otp_requests_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint otp_requests_recipient_id_recipients_id_fk FOREIGN KEY (recipient_id) REFERENCES recipients(id),
  constraint otp_requests_checks CHECK (((checks >= 0) AND (checks <= max_checks))),
  constraint otp_requests_state_reason CHECK ((((state = 'pending'::request_state) AND (reason IS NULL)) OR ((state = 'verified'::request_state) AND (reason IS NOT NULL) AND ((reason)::text = 'code_matched'::text)) OR ((state = 'expired'::request_state) AND (reason IS NOT NULL) AND ((reason)::text = 'lifetime_over'::text)) OR ((state = 'exhausted'::request_state) AND (reason IS NOT NULL) AND ((reason)::text = 'no_step_succeeded'::text)) OR ((state = 'locked'::request_state) AND (reason IS NOT NULL) AND ((reason)::text = 'too_many_checks'::text)) OR ((state = 'cancelled'::request_state) AND (reason IS NOT NULL) AND ((reason)::text = ANY (ARRAY['requested'::text, 'superseded'::text, 'erased'::text]))) OR ((state = 'failed'::request_state) AND (reason IS NOT NULL) AND ((reason)::text = ANY (ARRAY['no_channel_accepted'::text, 'not_started'::text, 'budget_exceeded'::text])))))
);

create table page_requests (
  id text not null,
  request_id text not null,
  checks smallint not null default 0,
  unanswered smallint not null default 0,
  verified_at timestamp(6) with time zone,
  ended_at timestamp(6) with time zone,
  created_at timestamp(6) with time zone not null default now(),
  constraint page_requests_pkey PRIMARY KEY (id),
  constraint page_requests_request_id_otp_requests_id_fk FOREIGN KEY (request_id) REFERENCES otp_requests(id)
);

create table pre_send_hooks (
  app_id text not null,
  url text not null,
  on_failure text not null,
  secret_ciphertext bytea not null,
  secret_kid text not null,
  previous_secret_ciphertext bytea,
  previous_secret_kid text,
  previous_secret_until timestamp(6) with time zone,
  changed_at timestamp(6) with time zone not null default now(),
  constraint pre_send_hooks_pkey PRIMARY KEY (app_id),
  constraint pre_send_hooks_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint pre_send_hooks_on_failure CHECK ((on_failure = ANY (ARRAY['allow'::text, 'deny'::text, 'challenge'::text])))
);

create table preferences (
  recipient_id text not null,
  channel channel not null,
  updated_at timestamp(6) with time zone not null default now(),
  environment key_environment not null,
  constraint preferences_recipient_id_environment_pk PRIMARY KEY (recipient_id, environment),
  constraint preferences_recipient_id_recipients_id_fk FOREIGN KEY (recipient_id) REFERENCES recipients(id)
);

create table provider_breakers (
  provider text not null,
  channel channel not null,
  open boolean not null default false,
  faults timestamp(6) with time zone[] not null default '{}'::timestamp with time zone[],
  fault fault,
  by_ping boolean not null default false,
  opened_at timestamp(6) with time zone,
  closed_at timestamp(6) with time zone,
  probe_at timestamp(6) with time zone,
  leased_until timestamp(6) with time zone,
  probe_no integer not null default 0,
  failed_probes integer not null default 0,
  constraint provider_breakers_provider_channel_pk PRIMARY KEY (provider, channel),
  constraint provider_breakers_times CHECK (((NOT open) OR ((opened_at IS NOT NULL) AND (probe_at IS NOT NULL))))
);

create table provider_callbacks (
  provider text not null,
  refused_at timestamp(6) with time zone not null,
  constraint provider_callbacks_pkey PRIMARY KEY (provider)
);

create table provider_hours (
  hour timestamp(6) with time zone not null,
  provider text not null,
  channel channel not null,
  country text not null,
  states jsonb not null,
  faults jsonb not null,
  receipts jsonb not null,
  success jsonb not null,
  costs jsonb not null,
  accept_ms jsonb not null,
  receipt_ms jsonb not null,
  summed_at timestamp(6) with time zone not null,
  constraint provider_hours_hour_provider_channel_country_pk PRIMARY KEY (hour, provider, channel, country)
);

create table provider_ping_hours (
  hour timestamp(6) with time zone not null,
  provider text not null,
  good integer not null,
  bad integer not null,
  constraint provider_ping_hours_hour_provider_pk PRIMARY KEY (hour, provider)
);

create table provider_pings (
  provider text not null,
  at timestamp(6) with time zone not null,
  fault fault,
  failures integer not null,
  milliseconds integer not null,
  since timestamp(6) with time zone not null,
  constraint provider_pings_pkey PRIMARY KEY (provider)
);

create table receipts (
  id bigint not null default nextval('receipts_id_seq'::regclass),
  attempt_id text not null,
  provider text not null,
  event_key text not null,
  status receipt_status not null,
  raw_status text not null,
  late boolean not null,
  provider_at timestamp(6) with time zone,
  received_at timestamp(6) with time zone not null default now(),
  constraint receipts_pkey PRIMARY KEY (id),
  constraint receipts_provider_event_key_unique UNIQUE (provider, event_key),
  constraint receipts_attempt_id_attempts_id_fk FOREIGN KEY (attempt_id) REFERENCES attempts(id)
);

create table recipient_verifications (
  recipient_id text not null,
  environment key_environment not null,
  verified_at timestamp(6) with time zone not null,
  constraint recipient_verifications_recipient_id_environment_pk PRIMARY KEY (recipient_id, environment),
  constraint recipient_verifications_recipient_id_recipients_id_fk FOREIGN KEY (recipient_id) REFERENCES recipients(id)
);

create table recipients (
  id text not null,
  app_id text not null,
  kind recipient_kind not null,
  index bytea not null,
  index_kid text not null,
  ciphertext bytea,
  kid text not null,
  created_at timestamp(6) with time zone not null default now(),
  erased_at timestamp(6) with time zone,
  constraint recipients_pkey PRIMARY KEY (id),
  constraint recipients_app_id_kind_index_unique UNIQUE (app_id, kind, index),
  constraint recipients_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint recipients_erased CHECK (((erased_at IS NULL) = (ciphertext IS NOT NULL)))
);

create table request_contexts (
  request_id text not null,
  ip inet,
  consent jsonb,
  created_at timestamp(6) with time zone not null default now(),
  constraint request_contexts_pkey PRIMARY KEY (request_id),
  constraint request_contexts_request_id_otp_requests_id_fk FOREIGN KEY (request_id) REFERENCES otp_requests(id)
);

create table send_blocks (
  id text not null,
  name text not null,
  app_id text not null,
  environment key_environment not null,
  scope text not null,
  label text,
  rule text not null,
  asks text not null,
  level smallint not null,
  since timestamp(6) with time zone not null,
  until timestamp(6) with time zone not null,
  lifted_at timestamp(6) with time zone,
  refused integer not null default 0,
  solved integer not null default 0,
  last_refused_at timestamp(6) with time zone,
  constraint send_blocks_pkey PRIMARY KEY (id),
  constraint send_blocks_name_unique UNIQUE (name),
  constraint send_blocks_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id),
  constraint send_blocks_asks CHECK ((asks = ANY (ARRAY['block'::text, 'challenge'::text])))
);

create table send_decisions (
  id bigint not null,
  request_id text not null,
  recipient_id text,
  app_id text not null,
  environment key_environment not null,
  country text,
  at timestamp(6) with time zone not null,
  verdict text not null,
  mode text not null,
  findings jsonb not null default '[]'::jsonb,
  scopes text[],
  place integer,
  matures_at timestamp(6) with time zone,
  outcome text,
  constraint send_decisions_pkey PRIMARY KEY (id)
);

create table send_standings (
  name text not null,
  at double precision not null,
  pending double precision not null default 0,
  passed double precision not null default 0,
  passed_hour double precision not null default 0,
  failed double precision not null default 0,
  passed_day double precision not null default 0,
  passed_ever double precision not null default 0,
  failed_ever double precision not null default 0,
  failed_hour double precision not null default 0,
  places integer[] not null default '{}'::integer[],
  constraint send_standings_pkey PRIMARY KEY (name)
);

create table send_windows (
  recipient_id text,
  environment key_environment not null,
  sends timestamp(6) with time zone[] not null,
  name text not null,
  partners text[] not null default '{}'::text[],
  expires_at timestamp(6) with time zone not null,
  constraint send_windows_pkey PRIMARY KEY (name),
  constraint send_windows_recipient_id_recipients_id_fk FOREIGN KEY (recipient_id) REFERENCES recipients(id)
);

create table spending (
  app_id text not null,
  live boolean not null,
  currency text not null,
  day date not null,
  reserved numeric[] not null default array_fill((0)::numeric, ARRAY[24]),
  spent numeric[] not null default array_fill((0)::numeric, ARRAY[24]),
  hour_limit numeric,
  day_limit numeric,
  least_price numeric,
  constraint spending_pk PRIMARY KEY (app_id, live, currency, day),
  constraint spending_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id)
);

create table spent_challenges (
  id text not null,
  expires_at timestamp(6) with time zone not null,
  constraint spent_challenges_pkey PRIMARY KEY (id)
);

create table test_numbers (
  id text not null,
  app_id text not null,
  index bytea not null,
  index_kid text not null,
  ciphertext bytea not null,
  kid text not null,
  created_at timestamp(6) with time zone not null default now(),
  constraint test_numbers_pkey PRIMARY KEY (id),
  constraint test_numbers_app_id_apps_id_fk FOREIGN KEY (app_id) REFERENCES apps(id)
);

create table unknown_checks (
  app_id text not null,
  environment key_environment not null,
  bucket smallint not null,
  count bigint not null,
  last_at timestamp(6) with time zone not null,
  constraint unknown_checks_app_id_environment_bucket_pk PRIMARY KEY (app_id, environment, bucket)
);

create table unmatched_receipts (
  provider text not null,
  event_key text not null,
  provider_message_id text not null,
  status receipt_status not null,
  raw_status text not null,
  provider_at timestamp(6) with time zone,
  cost_amount numeric,
  cost_currency text,
  received_at timestamp(6) with time zone not null default now(),
  provider_code text,
  constraint unmatched_receipts_provider_event_key_pk PRIMARY KEY (provider, event_key)
);

create table ussd_dials (
  global_index bytea not null,
  dials timestamp(6) with time zone[] not null,
  expires_at timestamp(6) with time zone not null,
  constraint ussd_dials_pkey PRIMARY KEY (global_index)
);

create table ussd_windows (
  attempt_id text,
  request_id text not null,
  provider text not null,
  global_index bytea not null,
  expires_at timestamp(6) with time zone not null,
  step smallint not null,
  success success_rule not null,
  service_code text,
  views smallint not null default 0,
  opened_at timestamp(6) with time zone not null default now(),
  constraint ussd_windows_request_id_provider_pk PRIMARY KEY (request_id, provider),
  constraint ussd_windows_attempt_id_unique UNIQUE (attempt_id),
  constraint ussd_windows_attempt_id_attempts_id_fk FOREIGN KEY (attempt_id) REFERENCES attempts(id)
);

CREATE INDEX address_windows_expiry ON public.address_windows USING btree (expires_at);

CREATE INDEX alert_notices_alert ON public.alert_notices USING btree (alert_id);

CREATE INDEX alert_notices_due ON public.alert_notices USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX alerts_age ON public.alerts USING btree (opened_at, id);

CREATE INDEX alerts_app ON public.alerts USING btree (app_id, opened_at, id);

CREATE UNIQUE INDEX alerts_open ON public.alerts USING btree (COALESCE(app_id, ''::text), environment, rule, subject) WHERE (resolved_at IS NULL);

CREATE INDEX api_keys_app ON public.api_keys USING btree (app_id, created_at);

CREATE INDEX app_hours_hour ON public.app_hours USING btree (hour);

CREATE INDEX attempts_answers ON public.attempts USING btree (provider, finished_at) WHERE (state = ANY (ARRAY['accepted'::attempt_state, 'refused'::attempt_state]));

CREATE UNIQUE INDEX attempts_callback ON public.attempts USING btree (callback_digest);

CREATE INDEX attempts_claimed ON public.attempts USING btree (claimed_at);

CREATE INDEX attempts_message ON public.attempts USING btree (provider, provider_message_id);

CREATE INDEX attempts_poll_due ON public.attempts USING btree (poll_due_at) WHERE (poll_due_at IS NOT NULL);

CREATE INDEX audit_events_guesses ON public.audit_events USING btree (app_id, at) WHERE ((type = ANY (ARRAY['check_rejected'::audit_type, 'locked'::audit_type])) AND ((detail ->> 'error_code'::text) = 'INVALID_CODE'::text));

CREATE INDEX audit_events_request ON public.audit_events USING btree (request_id) WHERE (request_id IS NOT NULL);

CREATE INDEX audit_seals_kid ON public.audit_seals USING brin (kid);

CREATE INDEX delegated_codes_expiry ON public.delegated_codes USING btree (expires_at);

CREATE INDEX delegated_codes_request ON public.delegated_codes USING btree (request_id);

CREATE INDEX email_domains_age ON public.email_domains USING btree (verified_at);

CREATE INDEX event_deliveries_claimed ON public.event_deliveries USING btree (endpoint_id, claimed_at) WHERE (claimed_at IS NOT NULL);

CREATE INDEX event_deliveries_due ON public.event_deliveries USING btree (endpoint_id, due_at) WHERE (state = 'due'::delivery_state);

CREATE INDEX event_deliveries_endpoint ON public.event_deliveries USING btree (endpoint_id, created_at, id);

CREATE INDEX event_deliveries_retrying ON public.event_deliveries USING btree (endpoint_id, due_at) WHERE (state = 'retrying'::delivery_state);

CREATE INDEX event_endpoints_app ON public.event_endpoints USING btree (app_id, environment) WHERE (deleted_at IS NULL);

CREATE INDEX events_age ON public.events USING btree (at);

CREATE INDEX events_app ON public.events USING btree (app_id, at, id);

CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX idempotency_keys_request ON public.idempotency_keys USING btree (request_id);

CREATE INDEX inbound_messages_age ON public.inbound_messages USING btree (seen_at);

CREATE INDEX list_entries_app ON public.list_entries USING btree (app_id, id);

CREATE UNIQUE INDEX list_entries_index ON public.list_entries USING btree (index);

CREATE INDEX list_entries_index_kid ON public.list_entries USING btree (index_kid, id);

CREATE INDEX list_entries_kid ON public.list_entries USING btree (kid, id);

CREATE INDEX number_lookups_expiry ON public.number_lookups USING btree (expires_at);

CREATE INDEX otp_requests_age ON public.otp_requests USING btree (created_at);

CREATE UNIQUE INDEX otp_requests_live ON public.otp_requests USING btree (app_id, recipient_id, environment, purpose) WHERE (state = 'pending'::request_state);

CREATE INDEX otp_requests_newest ON public.otp_requests USING btree (app_id, environment, created_at, id);

CREATE INDEX otp_requests_open ON public.otp_requests USING btree (expires_at) WHERE (state = 'pending'::request_state);

CREATE INDEX otp_requests_outcome_due ON public.otp_requests USING btree (outcome_due_at) WHERE (outcome_due_at IS NOT NULL);

CREATE INDEX otp_requests_progress_due ON public.otp_requests USING btree (progress_due_at) WHERE (progress_due_at IS NOT NULL);

CREATE INDEX otp_requests_purpose ON public.otp_requests USING btree (app_id, environment, purpose, created_at, id) WHERE ((purpose <> 'default'::text) AND (purpose <> 'publishable'::text));

CREATE INDEX otp_requests_recipient ON public.otp_requests USING btree (recipient_id, purpose, created_at);

CREATE INDEX otp_requests_seal_kid ON public.otp_requests USING btree (seal_kid, id) WHERE (seal_kid IS NOT NULL);

CREATE INDEX otp_requests_signal_due ON public.otp_requests USING btree (signal_due_at) WHERE (signal_due_at IS NOT NULL);

CREATE INDEX otp_requests_state ON public.otp_requests USING btree (app_id, environment, state, created_at, id) WHERE (state <> 'pending'::request_state);

CREATE INDEX otp_requests_texts ON public.otp_requests USING btree (ended_at) WHERE ((message_ciphertext IS NOT NULL) OR (metadata_ciphertext IS NOT NULL));

CREATE INDEX otp_requests_unclaimed ON public.otp_requests USING btree (workflow_started_at) WHERE ((state = 'pending'::request_state) AND (attempt_seq = 0));

CREATE INDEX otp_requests_unstarted ON public.otp_requests USING btree (created_at) WHERE ((state = 'pending'::request_state) AND (workflow_started_at IS NULL));

CREATE INDEX page_requests_request ON public.page_requests USING btree (request_id);

CREATE INDEX provider_breakers_open ON public.provider_breakers USING btree (provider) WHERE open;

CREATE INDEX receipts_attempt ON public.receipts USING btree (attempt_id);

CREATE INDEX recipients_age ON public.recipients USING btree (created_at, id) WHERE (erased_at IS NULL);

CREATE INDEX recipients_erased ON public.recipients USING btree (erased_at) WHERE (erased_at IS NOT NULL);

CREATE INDEX recipients_index_kid ON public.recipients USING btree (index_kid, id);

CREATE INDEX recipients_kid ON public.recipients USING btree (kid, id);

CREATE INDEX request_contexts_age ON public.request_contexts USING btree (created_at);

CREATE INDEX send_blocks_app ON public.send_blocks USING btree (app_id, since);

CREATE INDEX send_decisions_age ON public.send_decisions USING brin (at);

CREATE INDEX send_decisions_app ON public.send_decisions USING btree (app_id, at);

CREATE INDEX send_decisions_due ON public.send_decisions USING btree (matures_at) WHERE (matures_at IS NOT NULL);

CREATE INDEX send_decisions_recipient ON public.send_decisions USING btree (recipient_id, environment, at) WHERE (recipient_id IS NOT NULL);

CREATE INDEX send_decisions_request ON public.send_decisions USING btree (request_id);

CREATE INDEX send_decisions_verdict ON public.send_decisions USING btree (app_id, environment, verdict, id);

CREATE INDEX send_standings_age ON public.send_standings USING brin (at);

CREATE INDEX send_windows_expiry ON public.send_windows USING brin (expires_at);

CREATE INDEX send_windows_recipient ON public.send_windows USING btree (recipient_id) WHERE (recipient_id IS NOT NULL);

CREATE INDEX spent_challenges_expiry ON public.spent_challenges USING btree (expires_at);

CREATE INDEX test_numbers_app ON public.test_numbers USING btree (app_id, id);

CREATE UNIQUE INDEX test_numbers_index ON public.test_numbers USING btree (index);

CREATE INDEX unmatched_receipts_age ON public.unmatched_receipts USING btree (received_at);

CREATE INDEX unmatched_receipts_message ON public.unmatched_receipts USING btree (provider, provider_message_id);

CREATE INDEX ussd_dials_expiry ON public.ussd_dials USING btree (expires_at);

CREATE INDEX ussd_windows_expiry ON public.ussd_windows USING btree (expires_at);

CREATE INDEX ussd_windows_index ON public.ussd_windows USING btree (global_index, expires_at);

CREATE TRIGGER attempts_settle_money BEFORE UPDATE ON attempts FOR EACH ROW WHEN (old.state IS DISTINCT FROM new.state OR old.cost_amount IS DISTINCT FROM new.cost_amount OR old.cost_currency IS DISTINCT FROM new.cost_currency) EXECUTE FUNCTION settle_money();

CREATE TRIGGER audit_events_append_only BEFORE DELETE OR UPDATE ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_append_only();

CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION audit_events_append_only();

CREATE TRIGGER audit_events_tell_apps AFTER INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION events_from_audit();

CREATE TRIGGER audit_events_to_seal AFTER INSERT ON audit_events REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION audit_events_to_seal();

CREATE TRIGGER audit_roots_append_only BEFORE DELETE OR UPDATE ON audit_roots FOR EACH ROW EXECUTE FUNCTION audit_events_append_only();

CREATE TRIGGER audit_roots_no_truncate BEFORE TRUNCATE ON audit_roots FOR EACH STATEMENT EXECUTE FUNCTION audit_events_append_only();

CREATE TRIGGER audit_seals_append_only BEFORE DELETE OR UPDATE ON audit_seals FOR EACH ROW EXECUTE FUNCTION audit_events_append_only();

CREATE TRIGGER audit_seals_no_truncate BEFORE TRUNCATE ON audit_seals FOR EACH STATEMENT EXECUTE FUNCTION audit_events_append_only();

CREATE TRIGGER otp_requests_born_pending BEFORE INSERT ON otp_requests FOR EACH ROW EXECUTE FUNCTION otp_requests_born_pending();

CREATE TRIGGER otp_requests_legal_transition BEFORE UPDATE OF state, reason ON otp_requests FOR EACH ROW EXECUTE FUNCTION otp_requests_legal_transition();
