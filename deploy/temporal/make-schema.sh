#!/bin/sh
# Makes or upgrades the two databases of a Temporal cluster; safe to run again. Reads SQL_* from the environment.
set -eu

schema=/etc/temporal/schema/postgresql/v12
for database in temporal:temporal temporal_visibility:visibility; do
  name=${database%%:*}
  temporal-sql-tool --db "$name" create
  temporal-sql-tool --db "$name" setup-schema --version 0.0
  temporal-sql-tool --db "$name" update-schema --schema-dir "$schema/${database##*:}/versioned"
done
