import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { openKeyFile, readKeyFile, settleMs } from '../../codes/key-file'
import { addKeys, dropKey, keyStates } from '../../codes/key-rotation'
import { keyPurposes } from '../../codes/keyring'
import { findOrAddRecipient } from '../../db/recipients/recipients'
import { requestsOnly } from '../harness/requests'
import { tempKeyFile as made } from '../harness/seed'

const root = resolve(__dirname, '..', '..')
const inFolder = () => join(mkdtempSync(join(tmpdir(), 'otpilot-key-file-')), 'keys.json')
const noRows = (): Promise<string[]> => Promise.resolve([])

describe('changing the file', () => {
  test('a key added comes into use a minute later and is written in one piece, mode 0600', () => {
    const path = made()
    chmodSync(path, 0o640)
    const inode = statSync(path).ino
    const now = new Date('2026-11-23T08:00:00Z')
    const { added, usedFrom } = addKeys(path, keyPurposes, now)
    expect(usedFrom.toISOString()).toBe('2026-11-23T08:01:00.000Z')
    expect(added.map(({ purpose }) => purpose)).toEqual(keyPurposes)
    expect(statSync(path)).toMatchObject({ mode: 0o100600 })
    expect(statSync(path).ino).not.toBe(inode)
    expect(existsSync(`${path}.new`)).toBe(false)
    const file = readKeyFile(path, { strict: true })
    const stateAt = (at: string) =>
      keyStates(file, new Date(at))
        .filter(({ purpose }) => purpose === 'codes')
        .map(({ state }) => state)
    expect(stateAt('2026-11-23T08:00:59Z')).toEqual(['active', 'waiting'])
    expect(stateAt('2026-11-23T08:01:00Z')).toEqual(['replaced', 'active'])
  })

  const asRoot = process.getuid?.() === 0 ? test : test.skip
  asRoot('the owner stays', () => {
    const path = made()
    chownSync(path, 1000, 1000)
    addKeys(path, ['codes'])
    expect(statSync(path)).toMatchObject({ uid: 1000, gid: 1000, mode: 0o100600 })
  })

  test('two commands at once do not lose a key: the second is refused', () => {
    const path = made()
    writeFileSync(`${path}.new`, '')
    const before = readFileSync(path, 'utf8')
    expect(() => addKeys(path, ['codes'])).toThrow(/another command is changing the keys/)
    expect(readFileSync(path, 'utf8')).toBe(before)
    unlinkSync(`${path}.new`)
    addKeys(path, ['codes'])
    expect(readKeyFile(path, { strict: true }).codes).toHaveLength(2)
  })

  test('a file that is not usable is left as it is', () => {
    const path = made()
    const { codes: _, ...others } = readKeyFile(path, { strict: true })
    writeFileSync(path, JSON.stringify({ ...others, codes: [] }))
    const before = readFileSync(path, 'utf8')
    expect(() => addKeys(path, ['codes'])).toThrow(/must hold a key/)
    expect(readFileSync(path, 'utf8')).toBe(before)
    expect(existsSync(`${path}.new`)).toBe(false)
  })

  test('drop refuses the key in use, one that may be needed, and one that rows name', async () => {
    const path = made()
    const kid = readKeyFile(path, { strict: true }).codes[0]?.kid ?? ''
    const key = { purpose: 'codes' as const, kid }
    const drop = (now: string, rowsNaming = noRows) =>
      dropKey(path, key, { rowsNaming, now: new Date(now) })
    await expect(drop('2026-11-23T08:00:00Z')).rejects.toThrow(/in use: add another/)
    const { added } = addKeys(path, ['codes'], new Date('2026-11-23T08:00:00Z'))
    await expect(drop('2026-11-23T08:00:30Z')).rejects.toThrow(/in use: add another/)
    await expect(
      dropKey(path, added[0] ?? key, { rowsNaming: noRows, now: new Date('2026-11-23T08:00:30Z') }),
    ).rejects.toThrow(/will come into use/)
    // In use until 08:01; a code of then lives ten minutes, and clocks may differ by one.
    await expect(drop('2026-11-23T08:11:59Z')).rejects.toThrow(/until 2026-11-23T08:12:00/)
    await expect(drop('2026-11-23T08:12:00Z', () => Promise.resolve(['3 codes']))).rejects.toThrow(
      /needed by 3 codes/,
    )
    await drop('2026-11-23T08:12:00Z')
    const { codes } = readKeyFile(path, { strict: true })
    expect(codes.map((entry) => entry.kid)).toEqual(added.map((entry) => entry.kid))
    await expect(drop('2026-11-23T08:12:00Z')).rejects.toThrow(/is not in the file/)
  })
})

describe('npx otpilot', () => {
  const otpilot = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, ['--import', 'tsx', 'cli/otpilot.ts', ...args], {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, ...env },
    })
  const keyFile = (...args: string[]) => otpilot(['key-file', ...args])

  test('makes a file that production accepts, leaves one that is there, and adds keys to it', () => {
    const path = inFolder()
    expect(keyFile('make', '--file', path).status).toBe(0)
    expect(() => readKeyFile(path, { strict: true })).not.toThrow()
    const made = readFileSync(path, 'utf8')
    expect(keyFile('make', '--file', path)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('left as it is'),
    })
    expect(readFileSync(path, 'utf8')).toBe(made)
    const { stdout } = keyFile('add', 'codes', 'phones', '--file', path)
    const file = readKeyFile(path, { strict: true })
    expect(keyPurposes.map((purpose) => file[purpose].length)).toEqual([2, 2, 1, 1, 1, 1, 1])
    expect(stdout).toContain(`codes ${file.codes[1]?.kid}: in use from `)
    for (const { key } of file.codes) expect(stdout).not.toContain(key)
    const wrong = keyFile('add', 'numbers', '--file', path)
    expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining('Purposes are') })
  }, 120_000)

  test('reencrypt waits for a new key; drop keeps the old one while a clock may be behind', async () => {
    const path = made()
    const { db, url, close, freshNumber } = await requestsOnly()
    const before = openKeyFile(path, { strict: true })
    const old = before.active('phones').kid
    const { value } = freshNumber()
    await findOrAddRecipient(db, before, { appId: 'app', kind: 'phone', value })
    before.close()
    const env = { DATABASE_URL: url, OTPILOT_KEYS_FILE: path }
    const { usedFrom } = addKeys(path, ['phones'], new Date(Date.now() - settleMs + 10_000))
    const { stdout } = otpilot(['reencrypt'], env)
    expect(stdout).toMatch(/^Waiting until /)
    expect(stdout).toContain('Moved 1 rows; 0 are left')
    expect(Date.now()).toBeGreaterThan(usedFrom.getTime())
    expect(otpilot(['key-file', 'drop', 'phones', old], env)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/may still be needed .* until /),
    })
    await close()
  }, 120_000)
})
