import type { Keyring } from '../codes/keyring'
import { sealedIn, unseal } from '../codes/seal'
import type { TakenDelivery } from '../db/events/taking'
import { openAddress } from '../db/recipients/recipients'

/** What a type of event tells its receiver to do. */
const advice: Partial<Record<TakenDelivery['type'], object>> = {
  plan_ended: { error_code: 'ALL_CHANNELS_FAILED', action: 'contact_support' },
  action_required: { action: 'dial' },
}

/**
 * The body of an event: flat, and the same at every try but for what was erased meanwhile. Personal data are opened
 * here and nowhere before.
 */
export function bodyOf(keyring: Keyring, event: TakenDelivery): string {
  const { type, requestId, appId, at, environment, purpose, detail } = event
  return JSON.stringify({
    ...detail,
    type,
    request_id: requestId,
    status: type,
    phone_number: null,
    ...addressOf(keyring, event),
    timestamp: at.toISOString(),
    channel: detail.channel ?? null,
    app_id: appId,
    environment,
    ...(purpose !== null && { purpose }),
    ...advice[type],
    ...metadataOf(keyring, event),
  })
}

function addressOf(keyring: Keyring, event: TakenDelivery) {
  const { appId, recipientId, recipientKind, ciphertext, kid } = event
  if (recipientId === null || ciphertext === null || kid === null) return {}
  const value = openAddress(keyring, { appId, recipientId, ciphertext, kid })
  return recipientKind === 'phone' ? { phone_number: value } : { email: value }
}

function metadataOf(keyring: Keyring, { requestId, metadataCiphertext, sealKid }: TakenDelivery) {
  if (requestId === null || metadataCiphertext === null || sealKid === null) return {}
  const sealed = { ciphertext: metadataCiphertext, kid: sealKid }
  const metadata: unknown = JSON.parse(unseal(keyring, sealed, sealedIn.metadata(requestId)))
  return { metadata }
}

/** The secrets that sign for an endpoint now, the new one first. */
export function secretsOf(keyring: Keyring, event: TakenDelivery): string[] {
  const { appId, endpointId, secretCiphertext, secretKid } = event
  const { previousSecretCiphertext, previousSecretKid } = event
  const open = (ciphertext: Buffer, kid: string) =>
    unseal(keyring, { ciphertext, kid }, sealedIn.endpointSecret(appId, endpointId))
  const previous =
    previousSecretCiphertext && previousSecretKid
      ? [open(previousSecretCiphertext, previousSecretKid)]
      : []
  return [open(secretCiphertext, secretKid), ...previous]
}
