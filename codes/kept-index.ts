import { createHmac } from 'node:crypto'
import type { Key, Keyring } from './keyring'
import type { IndexedValue } from './seal'

/** What a row is kept and found by: a table of ours, and what it knows the number or address as. */
export const keptAs = {
  /** `appId` null: of every app. */
  listEntry: (appId: string | null, kind: string, value: string) =>
    `list/v1|${appId ?? ''}|${kind}|${value}`,
  testNumber: (appId: string, number: string) => `test-number/v1|${appId}|${number}`,
  lookup: (appId: string, number: string) => `lookup/v1|${appId}|${number}`,
}

const digest = ({ key }: Key, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

/** Keyed digest for a new row: of no use without the key, and unlike that of another app. */
export function keptIndex(keyring: Keyring, text: string): IndexedValue {
  const key = keyring.active('app_index')
  return { index: digest(key, text), kid: key.kid }
}

/** The same of several texts under every known key: what is looked up may have been stored under an older one. */
export const keptIndexes = (keyring: Keyring, texts: readonly string[]): Buffer[] =>
  keyring.all('app_index').flatMap((key) => texts.map((text) => digest(key, text)))
