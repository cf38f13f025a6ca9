-- Removes the audit of requests whose last row is older than `before`, rows and seals, each request whole and sealed,
-- the oldest first. Gives back their ids: whoever calls it removes them too, in the same transaction, so that none gets
-- another row. It runs with the owner's rights: nobody else may delete such rows.
create or replace function retire_audit(before timestamptz, at_most integer) returns setof text
  language plpgsql security definer set search_path = public, pg_temp as $$
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
end $$;
