import http from 'k6/http'
import { check } from 'k6'
import { Counter } from 'k6/metrics'

// Runs inside k6, not Node: `npm run bench:k6` gives it a system of its own, OTPILOT_URL and OTP_API_KEY point it elsewhere.

const { OTPILOT_URL = 'http://127.0.0.1:8080', OTP_API_KEY, QUICK } = __ENV

const full = [
  { duration: '30s', target: 10 },
  { duration: '1m', target: 50 },
  { duration: '30s', target: 100 },
  { duration: '1m', target: 0 },
]
const quick = [
  { duration: '5s', target: 10 },
  { duration: '5s', target: 100 },
  { duration: '5s', target: 0 },
]

const sent = new Counter('answers_200')
const limited = new Counter('answers_429')

export const options = {
  stages: QUICK ? quick : full,
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
  // Every single check, and a service that takes nothing has not passed.
  thresholds: { checks: ['rate==1'], answers_200: ['count>0'] },
}

/** Seven digits behind the prefix of a Ghanaian mobile network. */
const anyNumber = () => `23324${1_000_000 + Math.floor(Math.random() * 9_000_000)}`

export default function sendOne() {
  const body = JSON.stringify({ phone_number: anyNumber(), channel: 'sms' })
  const headers = { Authorization: `Bearer ${OTP_API_KEY}`, 'Content-Type': 'application/json' }
  const { status, timings } = http.post(`${OTPILOT_URL}/otp/send`, body, { headers })
  check(status, { 'status is 200 or 429': (code) => code === 200 || code === 429 })
  check(timings, { 'answered in less than 2 s': ({ duration }) => duration < 2_000 })
  sent.add(status === 200 ? 1 : 0)
  limited.add(status === 429 ? 1 : 0)
}
