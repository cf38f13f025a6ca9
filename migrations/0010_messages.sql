-- Templates of apps.
select 1;
