import type { ApiKeyView, MadeKey, NewKey } from '../../../db/apps/api-keys'
import type { AppSettings, AppView } from '../../../db/apps/apps'
import type { AppAnswer, AppChanges, KeyAnswer, KeyBody, MadeKeyAnswer } from '../../contract/admin'
import { Problem } from '../../problem'

// Between the words of the contract and those of the tables; the command line speaks the contract's too.

export const settingsOf = (body: AppChanges): Partial<AppSettings> => ({
  name: body.name,
  brand: body.brand,
  defaultCountry: body.default_country,
  codeLength: body.code_length,
  codeAlphabet: body.code_alphabet,
  maxExpirySeconds: body.max_expiry_seconds,
  highRiskExpirySeconds: body.high_risk_expiry_seconds,
  queueWhenDown: body.queue_when_down,
  consentRequired: body.consent_required,
  lengthenUnderGuessing: body.lengthen_under_guessing,
  region: body.region,
  autofillDomain: body.autofill_domain,
  androidAppHash: body.android_app_hash,
  pageChannels: body.page_channels,
})

export const appAnswerOf = (app: AppView): AppAnswer => ({
  app_id: app.id,
  name: app.name,
  brand: app.brand,
  default_country: app.defaultCountry,
  code_length: app.codeLength,
  code_alphabet: app.codeAlphabet,
  max_expiry_seconds: app.maxExpirySeconds,
  high_risk_expiry_seconds: app.highRiskExpirySeconds,
  queue_when_down: app.queueWhenDown,
  consent_required: app.consentRequired,
  lengthen_under_guessing: app.lengthenUnderGuessing,
  region: app.region,
  autofill_domain: app.autofillDomain,
  android_app_hash: app.androidAppHash,
  page_channels: app.pageChannels,
  created_at: app.createdAt.toISOString(),
})

/** @throws {Problem} INVALID_REQUEST for an expiry that is over, or too far away. */
export const newKeyOf = (body: KeyBody): Omit<NewKey, 'appId'> => ({
  name: body.name,
  environment: body.environment,
  scopes: body.scopes,
  publishable: body.publishable,
  requestsPerMinute: body.requests_per_minute,
  ...lifeOf(body),
})

function lifeOf({ expires_in_days: days, expires_at: end }: KeyBody) {
  if (end === undefined) return days === undefined ? {} : { expiresInSeconds: days * 86_400 }
  const expiresAt = new Date(end)
  const left = expiresAt.getTime() - Date.now()
  if (left > 0 && left <= 3650 * 86_400_000) return { expiresAt }
  const message = 'must be in the future, within ten years'
  throw new Problem('INVALID_REQUEST', {
    detail: `expires_at: ${message}.`,
    errors: [{ field: 'expires_at', message }],
  })
}

export const keyAnswerOf = (key: ApiKeyView): KeyAnswer => ({
  key_id: key.id,
  app_id: key.appId,
  name: key.name,
  environment: key.environment,
  scopes: key.scopes as KeyAnswer['scopes'],
  publishable: key.publishable,
  requests_per_minute: key.requestsPerMinute,
  replaces: key.replaces,
  state: key.state,
  created_at: key.createdAt.toISOString(),
  expires_at: key.expiresAt?.toISOString() ?? null,
  revoked_at: key.revokedAt?.toISOString() ?? null,
  last_used_at: key.lastUsedAt?.toISOString() ?? null,
})

export const madeKeyAnswerOf = (made: MadeKey): MadeKeyAnswer => ({
  ...keyAnswerOf(made),
  key: made.key,
})
