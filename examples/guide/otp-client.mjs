#!/usr/bin/env node
// A client for otpilot on Node's own fetch, nothing to install.
//
//   otp-client.mjs send PHONE_NUMBER [CHANNEL]
//   otp-client.mjs verify PHONE_NUMBER CODE
//
// Prints its result as JSON and ends with 0 if it was a success.
import { fileURLToPath } from 'node:url'

const { OTPILOT_URL = 'http://127.0.0.1:8080', OTP_API_KEY = '' } = process.env
const template = '{{code}} is your code. It works for {{minutes}} minutes.'
const timeoutMs = 10_000

async function post(path, payload) {
  const response = await fetch(OTPILOT_URL + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${OTP_API_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(payload),
    signal: AbortSignal.timeout(timeoutMs),
  })
  return { ok: response.ok, answer: await response.json() }
}

/** Sends a code by `channel`; the other channels follow if it does not arrive. */
export async function sendOtp(phoneNumber, channel = 'sms', expirySeconds = 300) {
  const { ok, answer } = await post('/otp/send', {
    phone_number: phoneNumber,
    channel,
    expiry_seconds: expirySeconds,
    message: template,
  })
  if (ok && answer.status === 'sent') return { success: true, requestId: answer.request_id }
  return { success: false, errorCode: answer.error_code, error: answer.message }
}

/** Checks what the user typed. A wrong code is a 200 too: the status in the body tells. */
export async function verifyOtp(phoneNumber, code) {
  const { ok, answer } = await post('/otp/verify', { phone_number: phoneNumber, code })
  if (ok && answer.status === 'verified') return { verified: true }
  return { verified: false, reason: answer.error_code, message: answer.message }
}

async function main([name, phoneNumber, last]) {
  const command = { send: sendOtp, verify: verifyOtp }[name]
  if (!command || !phoneNumber) {
    console.error('usage: otp-client.mjs send PHONE_NUMBER [CHANNEL] | verify PHONE_NUMBER CODE')
    return 2
  }
  const result = await command(phoneNumber, last)
  console.log(JSON.stringify(result))
  return result.success || result.verified ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2))
}
