-- Every audit row waits for its seal from the moment it is there, in the same transaction.
create or replace function audit_events_to_seal() returns trigger language plpgsql as $$
begin
  insert into audit_unsealed select id from added;
  return null;
end $$;

create or replace trigger audit_events_to_seal after insert on audit_events referencing new table as added
  for each statement execute function audit_events_to_seal();
