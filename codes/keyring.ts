/** Each key serves one purpose only (security reference A11). */
export const keyPurposes = [
  'codes',
  'phones',
  'app_index',
  'global_index',
  'audit',
  'callbacks',
  'cookies',
] as const
export type KeyPurpose = (typeof keyPurposes)[number]

export interface Key {
  kid: string
  key: Buffer
}

export interface Keyring {
  /** The key that new rows use. */
  active(purpose: KeyPurpose): Key
  /** All keys of a purpose that this process knows, the active one first: what is looked up may be older. */
  all(purpose: KeyPurpose): Key[]
  /** The key that came into use first: a rotation does not change it. */
  oldest(purpose: KeyPurpose): Key
  /** @throws {UnknownKey} for a kid this process has not read yet: the caller answers 503, never "wrong code". */
  find(purpose: KeyPurpose, kid: string): Key
}

/** A row names a key this process does not hold. */
export class UnknownKey extends Error {
  override name = 'UnknownKey'
  constructor(purpose: KeyPurpose, kid: string) {
    super(`No ${purpose} key with kid ${kid}: is OTPILOT_KEYS_FILE the same for every process?`)
  }
}
