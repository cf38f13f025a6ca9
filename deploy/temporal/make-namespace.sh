#!/bin/sh
# Makes the namespace unless it is there. Histories are kept for three days after a run has ended.
set -eu

name=${TEMPORAL_NAMESPACE:-default}
temporal operator namespace describe --namespace "$name" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$name" --retention 72h
