import { randomBytes } from 'node:crypto'
import { afterAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import {
  appIndex,
  appIndexes,
  callbackDigest,
  callbackDigests,
  globalIndex,
  globalIndexes,
  seal,
  sealedIn,
  unseal,
} from '../../codes/seal'
import { findOrAddRecipient, openRecipient } from '../../db/recipients/recipients'
import { requestsOnly } from '../harness/requests'
import { tempKeyFile } from '../harness/seed'

const keyringOf = (path = tempKeyFile()) => openKeyFile(path, { strict: true })

describe('sealing (E1)', () => {
  const keyring = keyringOf()
  afterAll(() => keyring.close())
  const context = sealedIn.recipient('app', 'rcp_1')

  test('opens in its own row only: not in another one, of another app, or in another column', () => {
    const sealed = seal(keyring, '+233241234567', context)
    expect(unseal(keyring, sealed, context)).toBe('+233241234567')
    for (const elsewhere of [
      sealedIn.recipient('app', 'rcp_2'),
      sealedIn.recipient('other', 'rcp_1'),
      sealedIn.message('rcp_1'),
      sealedIn.metadata('rcp_1'),
      sealedIn.endpointSecret('app', 'rcp_1'),
    ])
      expect(() => unseal(keyring, sealed, elsewhere)).toThrow()
  })

  test('notices any changed bit, and what was cut off', () => {
    const sealed = seal(keyring, 'text', context)
    for (let bit = 0; bit < sealed.ciphertext.length * 8; bit++) {
      const ciphertext = Buffer.from(sealed.ciphertext)
      ciphertext.writeUInt8(ciphertext.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(() => unseal(keyring, { ...sealed, ciphertext }, context)).toThrow()
    }
    for (let length = 0; length < sealed.ciphertext.length; length++) {
      const ciphertext = sealed.ciphertext.subarray(0, length)
      expect(() => unseal(keyring, { ...sealed, ciphertext }, context)).toThrow()
    }
  })

  test('has a nonce of 96 random bits each time, and says nothing but the length', () => {
    const sealed = Array.from({ length: 2_000 }, () => seal(keyring, 'text', context).ciphertext)
    expect(new Set(sealed.map((bytes) => bytes.subarray(0, 12).toString('hex'))).size).toBe(2_000)
    expect(new Set(sealed.map((bytes) => bytes.length))).toEqual(new Set([12 + 4 + 16]))
  })

  test('ciphertexts swapped between two rows of the table open neither', async () => {
    const requests = await requestsOnly()
    const { db } = requests
    const [one, other] = [requests.freshNumber(), requests.freshNumber()]
    const a = await findOrAddRecipient(db, requests.keyring, { appId: 'app', ...one })
    const b = await findOrAddRecipient(db, requests.keyring, { appId: 'app', ...other })
    expect(await openRecipient(db, requests.keyring, a)).toBe(one.value)
    await db.many(sql`update recipients r set ciphertext = o.ciphertext
      from recipients o where o.id <> r.id and r.id in ${[a, b]} and o.id in ${[a, b]}`)
    await expect(openRecipient(db, requests.keyring, a)).rejects.toThrow()
    await expect(openRecipient(db, requests.keyring, b)).rejects.toThrow()
    await requests.close()
  })
})

describe('indexes (E2, E3)', () => {
  const path = tempKeyFile()
  const keyring = keyringOf(path)
  afterAll(() => keyring.close())
  const address = { appId: 'app', kind: 'phone', value: '+233241234567' }

  test('of one number differ by app, by kind, by purpose and by key, and hold no trace of it', () => {
    const stranger = keyringOf()
    const all = [
      appIndex(keyring, address).index,
      appIndex(keyring, { ...address, appId: 'other' }).index,
      appIndex(keyring, { ...address, kind: 'email' }).index,
      appIndex(stranger, address).index,
      globalIndex(keyring, address.value),
      globalIndex(stranger, address.value),
      callbackDigest(keyring, address.value),
    ].map((bytes) => bytes.toString('hex'))
    stranger.close()
    expect(new Set(all).size).toBe(all.length)
    expect(all.every((digest) => digest.length === 64)).toBe(true)
  })

  test('are looked up under every known key, the active one first', () => {
    addKeys(path, ['app_index', 'global_index', 'callbacks'], new Date(Date.now() - 120_000))
    const both = keyringOf(path)
    const token = randomBytes(16).toString('hex')
    expect(appIndexes(both, address)).toEqual([appIndex(both, address), appIndex(keyring, address)])
    expect(globalIndexes(both, address.value)).toEqual([
      globalIndex(both, address.value),
      globalIndex(keyring, address.value),
    ])
    expect(callbackDigests(both, token)).toEqual([
      callbackDigest(both, token),
      callbackDigest(keyring, token),
    ])
    both.close()
  })
})
