import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeKeyFile } from '../../codes/key-file'
import { randomId } from '../../codes/random-id'
import type { Plan, Step } from '../../core/requests/plan'
import { stepDefaults } from '../../core/requests/plan'
import { usualSendLimits } from '../../db/protection/limits'
import type { SendInput } from '../../db/requests/new-request'

/** A key file of its own, in a temporary folder. */
export function tempKeyFile(): string {
  const path = join(mkdtempSync(join(tmpdir(), 'otpilot-keys-')), 'keys.json')
  makeKeyFile(path)
  return path
}

const stepOf = (channel: Step['channel'], given: Partial<Step> = {}): Step => ({
  channel,
  providers: ['sandbox-a', 'sandbox-b'],
  ...stepDefaults[channel],
  ...given,
})

const smsThenVoice: Plan = [stepOf('sms'), stepOf('voice')]

export const sendInput = (given: Partial<SendInput> = {}): SendInput => ({
  requestId: randomId('otp'),
  appId: 'app',
  keyId: 'key',
  environment: 'staging',
  recipient: { kind: 'phone', value: '+233555000010' },
  country: 'GH',
  purpose: 'default',
  locale: 'en',
  brand: 'Acme',
  risk: 'normal',
  lifetimeSeconds: 300,
  codes: { kind: 'derived', length: 6 },
  codeAlphabet: 'digits',
  plan: smsThenVoice,
  protection: {
    mode: 'observe',
    rules: {},
    isTrusted: false,
    isSolved: false,
    limits: usualSendLimits,
  },
  ...given,
})
