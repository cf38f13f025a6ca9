import { afterEach, expect, test } from '@jest/globals'
import { hideNumber, readHiddenNumber } from '../../codes/hidden-number'
import { openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import { tempKeyFile } from '../harness/seed'

const file = tempKeyFile()
const opened: { close(): void }[] = []
afterEach(() => opened.splice(0).forEach((keyring) => keyring.close()))
function open() {
  const keyring = openKeyFile(file, { strict: false, settleMs: 0 })
  opened.push(keyring)
  return keyring
}

const ofAcme = { kind: 'decision', appId: 'acme' } as const

test('a hidden number stays the same when keys are rotated, and is read again', () => {
  const before = hideNumber(open(), ofAcme, '17')
  addKeys(file, ['audit'])
  const keyring = open()
  expect(keyring.all('audit')).toHaveLength(2)
  expect(hideNumber(keyring, ofAcme, '17')).toBe(before)
  expect(readHiddenNumber(keyring, ofAcme, before)).toBe('17')
})

test('the largest of Postgres is hidden, too, and each differs by app and kind', () => {
  const keyring = open()
  const largest = String(2n ** 63n - 1n)
  const owners = [
    ofAcme,
    { kind: 'decision', appId: 'other' } as const,
    { kind: 'audit_seal', appId: 'acme' } as const,
  ]
  const hidden = owners.map((owner) => hideNumber(keyring, owner, largest))
  expect(new Set(hidden).size).toBe(owners.length)
  const read = owners.map((owner) => hidden.map((one) => readHiddenNumber(keyring, owner, one)))
  expect(read).toEqual(
    owners.map((owner) => owners.map((o) => (o === owner ? largest : undefined))),
  )
})

test.each(['0', '17', '9'.repeat(39), String(2n ** 128n)])('%s was made by nobody', (number) =>
  expect(readHiddenNumber(open(), ofAcme, number)).toBeUndefined(),
)
