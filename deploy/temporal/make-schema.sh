#!/bin/sh
# Makes or upgrades the tables of a Temporal cluster in its two databases; safe to run again. Reads SQL_* from the
# environment. The databases are there already: the role that owns them may make none.
set -eu

schema=/etc/temporal/schema/postgresql/v12
for database in temporal:temporal temporal_visibility:visibility; do
  name=${database%%:*}
  temporal-sql-tool --db "$name" setup-schema --version 0.0
  temporal-sql-tool --db "$name" update-schema --schema-dir "$schema/${database##*:}/versioned"
done
