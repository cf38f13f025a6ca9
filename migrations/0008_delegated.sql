-- Codes that providers make, and calls in doubt.
select 1;
