import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import type { Environment } from '../core/requests/state'
import type { Key, Keyring } from './keyring'

const nonceBytes = 12
const tagBytes = 16

export interface Sealed {
  ciphertext: Buffer
  kid: string
}

/** What a sealed text is bound to: moved to another row, or to another column, it cannot be opened. */
export const sealedIn = {
  recipient: (appId: string, recipientId: string) => `recipient|${appId}|${recipientId}`,
  message: (requestId: string) => `message|${requestId}`,
  metadata: (requestId: string) => `metadata|${requestId}`,
  hookSecret: (appId: string) => `hook|${appId}`,
  endpointSecret: (appId: string, endpointId: string) => `endpoint|${appId}|${endpointId}`,
  listEntry: (entryId: string) => `list|${entryId}`,
  testNumber: (appId: string, id: string) => `test-number|${appId}|${id}`,
}

/** Encrypts text with AES-256-GCM: nonce, ciphertext, tag. `context` binds it to its row. */
export function seal(keyring: Keyring, text: string, context: string): Sealed {
  const { key, kid } = keyring.active('phones')
  return { ciphertext: sealWith(key, text, context), kid }
}

function sealWith(key: Buffer, text: string, context: string): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, body, cipher.getAuthTag()])
}

/**
 * Opens what {@link seal} made for the same `context`.
 * @throws {UnknownKey} or an Error when key, row or bytes differ.
 */
export function unseal(keyring: Keyring, { ciphertext, kid }: Sealed, context: string): string {
  const { key } = keyring.find('phones', kid)
  const decipher = createDecipheriv('aes-256-gcm', key, ciphertext.subarray(0, nonceBytes), {
    // A shorter tag would be easier to forge.
    authTagLength: tagBytes,
  })
    .setAAD(Buffer.from(context))
    .setAuthTag(ciphertext.subarray(-tagBytes))
  const body = ciphertext.subarray(nonceBytes, -tagBytes)
  return decipher.update(body, undefined, 'utf8') + decipher.final('utf8')
}

export interface IndexedValue {
  index: Buffer
  kid: string
}

const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()

const indexUnder = ({ key, kid }: Key, { appId, kind, value }: IndexedAddress): IndexedValue => ({
  index: hmac(key, `recipient/v1|${appId}|${kind}|${value}`),
  kid,
})

interface IndexedAddress {
  appId: string
  kind: string
  value: string
}

/** Index of a recipient within one app, for its row: equal numbers of two apps cannot be linked by it. */
export const appIndex = (keyring: Keyring, address: IndexedAddress): IndexedValue =>
  indexUnder(keyring.active('app_index'), address)

/** The same under every known key, the active one first: what is looked up may have been stored under an older one. */
export const appIndexes = (keyring: Keyring, address: IndexedAddress): IndexedValue[] =>
  keyring.all('app_index').map((key) => indexUnder(key, address))

const globalText = (value: string) => `recipient/v1|${value}`

/** Index of a number across apps, for short-lived rows only. */
export const globalIndex = (keyring: Keyring, value: string): Buffer =>
  hmac(keyring.active('global_index').key, globalText(value))

/** The same under every known key. */
export const globalIndexes = (keyring: Keyring, value: string): Buffer[] =>
  keyring.all('global_index').map(({ key }) => hmac(key, globalText(value)))

/** As they were called when the first keys were stored: another text would forget those of the last 24 h. */
const environmentText: Record<Environment, string> = {
  production: 'live',
  staging: 'test',
  development: 'development',
}

/** Keyed digests of an Idempotency-Key or of a raw body, per app, under every known key, the active one first. */
export const idempotencyMacs = (
  keyring: Keyring,
  { appId, environment }: { appId: string; environment: Environment },
  part: 'key' | 'body',
  bytes: Buffer,
): Buffer[] =>
  keyring
    .all('app_index')
    .map(({ key }) =>
      createHmac('sha256', key)
        .update(`idempotency/v1|${appId}|${environmentText[environment]}|${part}|`)
        .update(bytes)
        .digest(),
    )

const callbackText = (token: string) => `callback/v1|${token}`

/** Digest of a callback token, as stored with its attempt. */
export const callbackDigest = (keyring: Keyring, token: string): Buffer =>
  hmac(keyring.active('callbacks').key, callbackText(token))

/** The same under every known key. */
export const callbackDigests = (keyring: Keyring, token: string): Buffer[] =>
  keyring.all('callbacks').map(({ key }) => hmac(key, callbackText(token)))
