"""What a caller writes with the client that openapi-generator makes for Python."""

import json
import sys
import time
import urllib.parse
import urllib.request

import otpilot_client as otp

url, key, inbox, phone = sys.argv[1:5]


def read_code() -> str:
    while True:
        with urllib.request.urlopen(f"{inbox}/inbox?to={urllib.parse.quote(phone)}") as answer:
            messages = json.load(answer)
        if messages:
            return messages[0]["code"]
        time.sleep(0.05)


with otp.ApiClient(otp.Configuration(host=url, access_token=key)) as client:
    api = otp.OTPApi(client)
    sent = api.send_otp(otp.SendBody(phone_number=phone, channel=otp.Channel.SMS))
    code = read_code()
    other = "246801" if code == "135790" else "135790"
    wrong = api.verify_otp(otp.VerifyBody(request_id=sent.request_id, code=other))
    right = api.verify_otp(otp.VerifyBody(phone_number=phone, code=code))
    read = api.read_otp(sent.request_id)
    assurance = right.assurance.value
    print(sent.status, wrong.error_code, wrong.attempts_remaining, assurance, read.state.value)
