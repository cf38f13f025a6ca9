#!/usr/bin/env bash
# Checks a code: ./verify.sh PHONE_NUMBER CODE
# Prints the answer as JSON; ends with 0 only if its status is "verified".
set -euo pipefail

phone_number=${1:?usage: $0 PHONE_NUMBER CODE}
code=${2:?usage: $0 PHONE_NUMBER CODE}
body=$(printf '{"phone_number": "%s", "code": "%s"}' "$phone_number" "$code")

answer=$(
  curl --silent --show-error --max-time 10 \
    --header @- --header 'Content-Type: application/json' \
    --data "$body" \
    "${OTPILOT_URL:-http://127.0.0.1:8080}/otp/verify" \
    <<<"Authorization: Bearer ${OTP_API_KEY:?set OTP_API_KEY to a key of your app}"
)
echo "$answer"
# A wrong code is a 200 too, so the status in the body decides.
[[ $answer =~ \"status\":\ *\"verified\" ]]
