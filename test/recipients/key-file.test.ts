import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { type KeyFile, makeKeyFile, openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import { UnknownKey } from '../../codes/keyring'
import { seed } from '../../cli/seed'
import { weaknessOf } from '../../codes/weak-key'
import { until } from '../harness/client'
import { freshDatabase } from '../harness/database'

const root = resolve(__dirname, '..', '..')
const inFolder = () => join(mkdtempSync(join(tmpdir(), 'otpilot-key-file-')), 'keys.json')

/** A good file for production, changed by `change`. */
function fileWith(change: (file: KeyFile) => void = () => undefined): string {
  const path = inFolder()
  makeKeyFile(path)
  const file = JSON.parse(readFileSync(path, 'utf8')) as KeyFile
  change(file)
  writeFileSync(path, JSON.stringify(file))
  return path
}

const base64 = (bytes: Buffer) => bytes.toString('base64')
const setKey = (key: string) => (file: KeyFile) => {
  file.codes = [{ kid: 'one', key, active_from: '1970-01-01T00:00:00.000Z' }]
}
const refusal = (path: string, strict = true): string => {
  try {
    openKeyFile(path, { strict }).close()
    return 'accepted'
  } catch (error) {
    return (error as Error).message
  }
}

describe('what production refuses to start with', () => {
  const secret = randomBytes(32)
  test.each<[string, (file: KeyFile) => void, RegExp]>([
    ['a key of 31 bytes', setKey(base64(randomBytes(31))), /codes\.0\.key: must be 32 bytes/],
    ['a key of 33 bytes', setKey(base64(randomBytes(33))), /must be 32 bytes/],
    ['a key of no bytes', setKey(''), /must be 32 bytes/],
    ['what is no base64', setKey('not base64!'), /must be base64/],
    ['only zeros', setKey(base64(Buffer.alloc(32))), /codes key one counts or repeats one byte/],
    ['one byte repeated', setKey(base64(Buffer.alloc(32, 7))), /repeats one byte/],
    ['counting bytes', setKey(base64(Buffer.from([...Array(32).keys()]))), /counts/],
    [
      'a password',
      setKey(base64(Buffer.from('correct horse battery staple 123'))),
      /readable text/,
    ],
    [
      'a hex string taken for bytes',
      setKey(base64(Buffer.from(randomBytes(16).toString('hex')))),
      /readable text/,
    ],
    [
      'half a key, twice',
      (file) => {
        const half = randomBytes(16)
        setKey(base64(Buffer.concat([half, half])))(file)
      },
      /too few different bytes/,
    ],
    [
      'a short key filled with zeros',
      setKey(base64(Buffer.concat([randomBytes(24), Buffer.alloc(8)]))),
      /equal bytes in a row/,
    ],
    [
      'equal keys of two purposes',
      (file) => {
        file.cookies = [{ kid: 'c', key: base64(secret), active_from: '2026-01-01T00:00:00Z' }]
        file.audit = [{ kid: 'a', key: base64(secret), active_from: '2026-01-01T00:00:00Z' }]
      },
      /audit key a and cookies key c are equal/,
    ],
    [
      'equal keys of one purpose',
      (file) => {
        const [entry] = file.codes
        if (entry) file.codes.push({ ...entry, kid: 'again' })
      },
      /codes key \w+ and codes key again are equal/,
    ],
    [
      'two keys with one name',
      (file) => {
        const [entry] = file.codes
        if (entry) file.codes.push({ ...entry, key: base64(secret) })
      },
      /there are two of codes key/,
    ],
    ['keys made for development', (file) => (file.made_for = 'development'), /for development/],
    ['a purpose without a key', (file) => (file.phones = []), /phones: must hold a key/],
    ['a purpose left out', (file) => delete (file as Partial<KeyFile>).audit, /audit: /],
    ['a purpose that there is not', (file) => Object.assign(file, { other: [] }), /other/],
  ])('%s', (_name, change, sentence) => {
    const path = fileWith(change)
    const said = refusal(path)
    expect(said).toMatch(sentence)
    expect(said).toContain(path)
    expect(said.split('\n')).toHaveLength(1)
    const text = readFileSync(path, 'utf8')
    for (const [, key = ''] of text.matchAll(/"key": ?"([^"]{8,})"/g))
      expect(said).not.toContain(key)
  })

  test('a file that others can read, one that is not there, and what is no JSON', () => {
    const open = fileWith()
    chmodSync(open, 0o640)
    expect(refusal(open)).toMatch(/readable by others: run chmod 600/)
    expect(refusal(open, false)).toBe('accepted')
    const absent = inFolder()
    expect(refusal(absent)).toMatch(/is not there/)
    writeFileSync(absent, `{"codes": "${secret.toString('hex')}`, { mode: 0o600 })
    expect(refusal(absent)).toMatch(/is not JSON/)
    expect(refusal(absent)).not.toContain(secret.toString('hex').slice(0, 8))
  })

  test('the file that npm start makes', async () => {
    const { url, drop } = await freshDatabase()
    const path = inFolder()
    await seed(url, { keysFile: path, known: {} })
    expect(refusal(path, false)).toBe('accepted')
    expect(refusal(path)).toMatch(/its keys were made for development/)
    await drop()
  })

  test('a process says so in one sentence and ends', () => {
    const path = fileWith((file) => (file.made_for = 'development'))
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', join(root, 'worker', 'main.ts')],
      {
        cwd: root,
        encoding: 'utf8',
        env: {
          PATH: process.env.PATH,
          OTPILOT_URL: 'https://otp.example.com',
          DATABASE_URL: 'postgres://127.0.0.1:9/none',
          OTPILOT_KEYS_FILE: path,
        },
      },
    )
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(
        /^The key file \S+ is not usable: its keys were made for [^\n]+\n$/,
      ),
    })
  })
})

describe('what is accepted', () => {
  test('a new file; one without a mark, as older versions made it; one for development, there', () => {
    expect(refusal(fileWith())).toBe('accepted')
    expect(refusal(fileWith((file) => delete file.made_for))).toBe('accepted')
    const development = fileWith((file) => (file.made_for = 'development'))
    expect(refusal(development, false)).toBe('accepted')
    expect(refusal(fileWith(setKey(base64(Buffer.alloc(32)))), false)).toBe('accepted')
  })

  test('equal and short keys are refused in development too', () => {
    expect(refusal(fileWith(setKey(base64(randomBytes(16)))), false)).toMatch(/32 bytes/)
    const twice = fileWith((file) => {
      file.audit = file.cookies
    })
    expect(refusal(twice, false)).toMatch(/are equal/)
  })

  test('random keys are not taken for weak ones', () => {
    const weak = Array.from({ length: 20_000 }, () => randomBytes(32)).filter(weaknessOf)
    expect(weak).toEqual([])
  })
})

describe('a keyring', () => {
  test('uses a new key when it has settled, knows it before, and finds an older one after', async () => {
    const path = fileWith()
    const ring = openKeyFile(path, { strict: true, settleMs: 2_000, rereadMs: 20 })
    const old = ring.active('codes')
    const { added } = addKeys(path, ['codes'])
    const [kid] = added.map((key) => key.kid)
    await until(async () => ring.all('codes').length === 2)
    expect(ring.active('codes')).toEqual(old)
    expect(ring.all('codes').map((key) => key.kid)).toEqual([old.kid, kid])
    await until(async () => ring.active('codes').kid === kid)
    expect(ring.all('codes').map((key) => key.kid)).toEqual([kid, old.kid])
    expect(ring.find('codes', old.kid)).toEqual(old)
    expect(() => ring.find('codes', 'unheard-of')).toThrow(UnknownKey)
    ring.close()
  })

  test('keeps its last good reading, and says once why it could not read', async () => {
    const path = fileWith()
    const faults: string[] = []
    const onFault = ({ message }: Error) => void faults.push(message)
    const ring = openKeyFile(path, { strict: true, rereadMs: 10, onFault })
    const { kid } = ring.active('codes')
    const good = readFileSync(path)
    writeFileSync(path, '{"codes": [')
    await until(async () => faults.length > 0)
    // Many readings later.
    await pause(100)
    expect(ring.active('codes').kid).toBe(kid)
    expect(faults).toEqual([expect.stringMatching(/is not JSON/)])
    writeFileSync(path, good)
    await pause(60)
    unlinkSync(path)
    await until(async () => faults.length > 1)
    await pause(60)
    expect(faults).toHaveLength(2)
    expect(ring.find('codes', kid).kid).toBe(kid)
    ring.close()
  })
})
