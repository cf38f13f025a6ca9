-- A request leaves `pending` once and never moves again.
create or replace function otp_requests_legal_transition() returns trigger language plpgsql as $$
begin
  if old.state <> 'pending' and (new.state, new.reason) is distinct from (old.state, old.reason) then
    raise exception 'otp request % is %, it cannot become %', old.id, old.state, new.state
      using errcode = 'check_violation';
  end if;
  return new;
end $$;

create or replace trigger otp_requests_legal_transition before update of state, reason on otp_requests
  for each row execute function otp_requests_legal_transition();
