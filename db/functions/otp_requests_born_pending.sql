create or replace function otp_requests_born_pending() returns trigger language plpgsql as $$
begin
  if new.state <> 'pending' then
    raise exception 'an otp request starts as pending' using errcode = 'check_violation';
  end if;
  return new;
end $$;

create or replace trigger otp_requests_born_pending before insert on otp_requests
  for each row execute function otp_requests_born_pending();
