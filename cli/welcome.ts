import { relative } from 'node:path'
import type { Settings } from './settings'

const playing = `
  Providers     played by the sandbox: with OTPILOT_LIVE_KEY in the place of OTP_API_KEY, calls go through them`

/** The words a newcomer acts on: where things are, and two calls that can be pasted as they stand. */
export const welcome = (
  settings: Settings,
  temporalUi: string | undefined,
  { plays }: { plays: boolean },
): string => {
  const { urls, folder } = settings
  const near = relative(process.cwd(), folder.path)
  const shown = near.startsWith('..') ? folder.path : near
  const phone = '+233241234567'
  return `
otpilot is ready.

  API           ${urls.api}   documentation: ${urls.api}/docs
  Phones        ${urls.sandbox}   what people would see
  Temporal UI   ${temporalUi ?? 'that of your own server'}   every code as a run to follow
  Logs          ${shown}/logs${plays ? playing : ''}

Paste this to send a code:

. ${shown}/env
curl -sS "$OTPILOT_URL/otp/send" \\
  -H "Authorization: Bearer $OTP_API_KEY" -H "Content-Type: application/json" \\
  -d '{"phone_number": "${phone}", "channel": "sms"}'

Read it on the phone at ${urls.sandbox}/#${encodeURIComponent(phone)}
and put it in the place of 123456:

curl -sS "$OTPILOT_URL/otp/verify" \\
  -H "Authorization: Bearer $OTP_API_KEY" -H "Content-Type: application/json" \\
  -d '{"phone_number": "${phone}", "code": "123456"}'

Ctrl-C stops everything; what was under way goes on at the next start.
`
}
