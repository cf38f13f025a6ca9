import { hideNumber, type NumberKind, readHiddenNumber } from '../codes/hidden-number'
import type { ApiKey } from '../db/apps/api-keys'
import type { ApiDeps } from './deps'

type Holder = Pick<ApiDeps, 'keyring'> & { key: ApiKey; kind: NumberKind }

/** A number that counts the rows of all apps: as it is for an operator, hidden for an app's key. */
export const shownNumber = ({ keyring, key, kind }: Holder, number: string): string =>
  key.app ? hideNumber(keyring, { kind, appId: key.app.id }, number) : number

/** @returns the plain number; undefined where {@link shownNumber} never showed this one to the holder of the key */
export function readShownNumber({ keyring, key, kind }: Holder, shown: string): string | undefined {
  if (key.app) return readHiddenNumber(keyring, { kind, appId: key.app.id }, shown)
  return isPlain(shown) ? shown : undefined
}

/** Whether Postgres takes it as a `bigint`. */
export const isPlain = (number: string): boolean => /^\d{1,18}$/.test(number)
