-- Breakers, pings and the record of what each provider achieved.
select 1;
