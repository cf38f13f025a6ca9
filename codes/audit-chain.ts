import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto'

/** Where a row stands; given out when it is sealed. Numbers beyond 2^53 stay whole as text. */
export interface SealPosition {
  number: string
  eventId: string
  chain: string
  sequence: number
}

/** What a row says. */
export interface AuditContent {
  requestId: string | null
  appId: string | null
  type: string
  actor: string
  runId: string | null
  attemptId: string | null
  detail: Record<string, unknown>
  /** Microseconds since 1970. */
  at: string
}

/** What the first row of a chain follows. */
export const chainStart = Buffer.alloc(32)

/**
 * The keyed hash of a row: it covers the row's place, all that it says, and by `previous` every row before it in its
 * chain. Without the audit key nobody can make one that fits.
 */
export const chainHash = (
  key: Buffer,
  previous: Buffer,
  position: SealPosition,
  content: AuditContent,
): Buffer =>
  createHmac('sha256', key).update(previous).update(canonicalRow(position, content)).digest()

/** One text per row, always the same: a JSON array, the detail's keys in order. */
function canonicalRow(position: SealPosition, content: AuditContent): string {
  const { number, eventId, chain, sequence } = position
  const { requestId, appId, type, actor, runId, attemptId, detail, at } = content
  const keys = Object.keys(detail).sort()
  return JSON.stringify([
    'audit/v1',
    ...[number, eventId, chain, sequence, requestId, appId, type, actor, runId, attemptId, at],
    keys.map((key) => [key, detail[key]]),
  ])
}

export const sameHash = (one: Buffer, other: Buffer): boolean =>
  one.length === other.length && timingSafeEqual(one, other)

/** What every Ed25519 private key is wrapped in (RFC 8410). */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex')

/** Roots are signed, not only keyed: who holds the public half can check them and cannot make them. */
function rootKey(auditKey: Buffer): KeyObject {
  const seed = Buffer.from(hkdfSync('sha256', auditKey, '', 'audit/v1|root', 32))
  return createPrivateKey({
    key: Buffer.concat([pkcs8Head, seed]),
    format: 'der',
    type: 'pkcs8',
  })
}

export const signRoot = (auditKey: Buffer, text: string): string =>
  sign(null, Buffer.from(text), rootKey(auditKey)).toString('base64')

export const rootIsSigned = (auditKey: Buffer, text: string, signature: string): boolean =>
  verify(
    null,
    Buffer.from(text),
    createPublicKey(rootKey(auditKey)),
    Buffer.from(signature, 'base64'),
  )

/** For somebody who is to check roots without being able to make them; PEM. */
export const rootPublicKey = (auditKey: Buffer): string =>
  createPublicKey(rootKey(auditKey)).export({ type: 'spki', format: 'pem' }).toString()

export const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest()
