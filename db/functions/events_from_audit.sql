-- As before, and events about an accepted message say what there is to dial for it.
create or replace function events_from_audit() returns trigger language plpgsql as $$
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
end $$;

create or replace trigger audit_events_tell_apps after insert on audit_events
  for each row execute function events_from_audit();
