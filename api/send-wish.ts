import { faultOfText } from '../core/input/prose'
import { lifetime } from '../core/limits'
import type { App } from '../db/apps/apps'
import type { Consent } from '../db/recipients/consent'
import type { Owner } from '../db/requests/owner'
import type { SendBody } from './contract/send'
import type { AppKey } from './route'
import { Problem } from './problem'

/** @throws {Problem} INVALID_MESSAGE for a template with what cannot be filled in, or must not be sent. */
export function checkTemplate(message: string): void {
  const refuse = (detail: string) => new Problem('INVALID_MESSAGE', { detail })
  if (/\{\{|\}\}/.test(message.replace(/\{\{(code|minutes|brand)\}\}/g, ''))) {
    throw refuse(
      'The message may hold {{code}}, {{minutes}} and {{brand}}, and no other braces in pairs.',
    )
  }
  const fault = faultOfText(message)
  if (fault !== undefined) throw refuse(`The message ${fault}.`)
}

/**
 * The lifetime in seconds that a send gets.
 * @throws {Problem} INVALID_EXPIRY outside of what the app allows.
 */
export function lifetimeOf({ expiry_seconds: wish, risk }: SendBody, app: App): number {
  const most = Math.min(app.maxExpirySeconds, lifetime.max)
  if (wish !== undefined && (wish < lifetime.min || wish > most)) {
    throw new Problem('INVALID_EXPIRY', {
      detail: `expiry_seconds must be from ${lifetime.min} to ${most} for this app.`,
    })
  }
  const seconds = wish ?? Math.min(lifetime.default, most)
  return risk === 'high' ? Math.min(seconds, app.highRiskExpirySeconds) : seconds
}

/**
 * The consent that a send carries.
 * @throws {Problem} CONSENT_REQUIRED where the app insists on one.
 */
export function consentOf({ consent }: SendBody, app: App): Consent | undefined {
  if (!consent && app.consentRequired) throw new Problem('CONSENT_REQUIRED')
  if (!consent) return undefined
  const { text_version: textVersion, given_at: givenAt, ...more } = consent
  return { textVersion, givenAt: givenAt === undefined ? undefined : new Date(givenAt), ...more }
}

/**
 * Reads an `Idempotency-Key`, bare or quoted.
 * @throws {Problem} INVALID_REQUEST when it is empty, longer than 255 characters or not printable ASCII.
 */
export function readIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const [, quoted, bare] =
    /^(?:"([\x20-\x7e]{1,255})"|([\x21-\x7e]{1,255}))$/.exec(String(header)) ?? []
  const key = quoted ?? bare
  if (key) return key
  throw new Problem('INVALID_REQUEST', {
    detail: 'Idempotency-Key must be 1 to 255 printable ASCII characters.',
  })
}

/** The seconds of `Prefer: wait=n` (RFC 7240), at most `most`; undefined without one, or with 0. */
export function readWait(header: string | string[] | undefined, most: number): number | undefined {
  const [, seconds] =
    /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,4})"?\s*(?:[,;]|$)/i.exec(String(header ?? '')) ?? []
  return Number(seconds) > 0 ? Math.min(Number(seconds), most) : undefined
}

/** Whom a wish counts for: the actor of audit rows. */
export const actorOf = (key: { id: string }): string => `key:${key.id}`

/** Whose requests a key may see and touch. */
export const ownerOf = ({ app, environment }: Pick<AppKey, 'app' | 'environment'>): Owner => ({
  appId: app.id,
  environment,
})
