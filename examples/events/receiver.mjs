// Receives otpilot's events, checks where they come from, and does with them what an app does.
//
//   OTPILOT_EVENT_SECRET=whsec_… PORT=3000 node receiver.mjs
//
// The secret is in the answer that registered the endpoint (POST /admin/event-endpoints).
import express from 'express'
import { Webhook } from 'standardwebhooks'

const webhook = new Webhook(process.env.OTPILOT_EVENT_SECRET)
const app = express()

// What an app would keep in its database.
const records = new Map()
const seen = new Set()

function update(requestId, fields) {
  records.set(requestId, { ...records.get(requestId), ...fields })
  console.log(JSON.stringify({ request_id: requestId, ...fields }))
}

// The signature is over the bytes as they came, so they are kept beside what express makes of them.
const keepBytes = (req, _res, bytes) => {
  req.bytes = bytes
}

function authentic(req, res, next) {
  try {
    webhook.verify(req.bytes, req.headers)
    next()
  } catch {
    res.status(401).json({ error: 'the signature does not fit' })
  }
}

app.post('/webhooks/otp-status', express.json({ verify: keepBytes }), authentic, (req, res) => {
  // An event may come twice; its id is the same every time.
  const id = req.get('webhook-id')
  if (!seen.has(id)) {
    seen.add(id)
    handle(req.body)
  }
  res.status(200).json({ received: true })
})

function handle({ request_id, status, phone_number, timestamp, reason, error_code }) {
  switch (status) {
    case 'delivered':
      return update(request_id, { delivered: true, delivered_at: timestamp })
    case 'failed':
      // No channel took the message. otpilot has tried them all: ask the user for another number.
      return update(request_id, { delivered: false, failed_at: timestamp, phone_number })
    case 'expired':
      return update(request_id, { expired: true, reason })
    case 'plan_ended':
      // Every channel had its turn; the codes that were sent stay valid until they expire.
      return update(request_id, { error_code })
    default:
      // created, sent, action_required, verified, locked, cancelled, alert, test: of use to some apps.
      return undefined
  }
}

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.error(`listening on http://127.0.0.1:${server.address().port}/webhooks/otp-status`)
})
