#!/usr/bin/env bash
# Sends a code: ./send.sh PHONE_NUMBER [CHANNEL]
# Prints the answer as JSON; ends with an error unless it was a 200.
set -euo pipefail

phone_number=${1:?usage: $0 PHONE_NUMBER [CHANNEL]}
channel=${2:-sms}
body=$(printf '{
  "phone_number": "%s",
  "channel": "%s",
  "expiry_seconds": 300,
  "message": "{{code}} is your code. It works for {{minutes}} minutes."
}' "$phone_number" "$channel")

# The key goes in by standard input: arguments can be read by every user of the machine.
curl --silent --show-error --fail-with-body --max-time 10 \
  --header @- --header 'Content-Type: application/json' \
  --data "$body" \
  "${OTPILOT_URL:-http://127.0.0.1:8080}/otp/send" \
  <<<"Authorization: Bearer ${OTP_API_KEY:?set OTP_API_KEY to a key of your app}"
echo
