#!/usr/bin/env python3
"""A client for otpilot in plain Python, nothing to install.

    otp_client.py send PHONE_NUMBER [CHANNEL]
    otp_client.py retry PHONE_NUMBER [CHANNEL]
    otp_client.py verify PHONE_NUMBER CODE

Prints its result as JSON and ends with 0 if it was a success.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

TEMPLATE = "{{code}} is your code. It works for {{minutes}} minutes."
TIMEOUT_SECONDS = 10
# Trying again cannot help these.
PERMANENT = {"INVALID_NUMBER", "BLOCKED"}


def post(path, payload, **extra_headers):
    """Returns the HTTP status and the JSON answer; the status is 0 if none came."""
    request = urllib.request.Request(
        os.environ.get("OTPILOT_URL", "http://127.0.0.1:8080") + path,
        data=json.dumps(payload).encode(),
        headers={
            "Authorization": "Bearer " + os.environ["OTP_API_KEY"],
            "Content-Type": "application/json",
            **extra_headers,
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            try:
                return refusal.code, json.load(refusal)
            except ValueError:
                return refusal.code, {}
    except OSError as failure:
        return 0, {"message": f"No answer: {failure}"}


def send_otp(phone_number, channel="sms", expiry_seconds=300, idempotency_key=None):
    """Sends a code. A key that is repeated on a retry keeps the user from getting two."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    status, answer = post(
        "/otp/send",
        {
            "phone_number": phone_number,
            "channel": channel,
            "expiry_seconds": expiry_seconds,
            "message": TEMPLATE,
        },
        **headers,
    )
    if status == 200 and answer.get("status") == "sent":
        return {"success": True, "request_id": answer["request_id"]}
    return {
        "success": False,
        "error_code": answer.get("error_code"),
        "error": answer.get("message", f"HTTP {status}"),
    }


def send_otp_with_retry(phone_number, channel="sms", pauses=(1, 2.1, 4.2)):
    """Sends a code, trying again after each pause (in seconds), always as the same send."""
    key = str(uuid.uuid4())
    for pause in (*pauses, None):
        result = send_otp(phone_number, channel, idempotency_key=key)
        if result["success"] or result["error_code"] in PERMANENT or pause is None:
            return result
        time.sleep(pause)


def verify_otp(phone_number, code):
    """Checks what the user typed. A wrong code is no error of HTTP: the body tells."""
    _, answer = post("/otp/verify", {"phone_number": phone_number, "code": code})
    if answer.get("status") == "verified":
        return {"verified": True}
    return {
        "verified": False,
        "reason": answer.get("error_code"),
        "message": answer.get("message"),
    }


def main(arguments):
    commands = {"send": send_otp, "retry": send_otp_with_retry, "verify": verify_otp}
    command = commands.get(arguments[0]) if len(arguments) >= 2 else None
    if not command:
        sys.exit(__doc__)
    result = command(*arguments[1:3])
    print(json.dumps(result))
    return 0 if result.get("success") or result.get("verified") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
