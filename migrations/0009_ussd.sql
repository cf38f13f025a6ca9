-- Windows that open with the request.
select 1;
