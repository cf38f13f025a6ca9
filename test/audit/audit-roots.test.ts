import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createPublicKey, verify as verifySignature } from 'node:crypto'
import { chmodSync, copyFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { rootPublicKey } from '../../codes/audit-chain'
import { type RootEnd, rootPath } from '../../db/audit/root-file'
import { writeRoot } from '../../db/audit/roots'
import { attack, auditedRequests } from '../harness/audit'

type Audited = Awaited<ReturnType<typeof auditedRequests>>
let all: Audited['all']
let audit: Audited['audit']
let liveThrough: Audited['liveThrough']
let kinds: Audited['kinds']
let close: Audited['close']
beforeEach(async () => {
  ;({ all, audit, liveThrough, kinds, close } = await auditedRequests())
})
afterEach(() => close())

describe('the roots outside of Postgres', () => {
  const endOf = (number: number): RootEnd => {
    const lines = readFileSync(rootPath(audit.folder, number), 'utf8').trim().split('\n')
    return JSON.parse(lines.at(-1) ?? '') as RootEnd
  }

  test('hold the head of every chain that grew since the last one, signed for whoever has the public key', async () => {
    await audit.seal()
    expect(await audit.root()).toBe(1)
    const third = await liveThrough()
    await audit.seal()
    expect(await audit.root()).toBe(2)
    const text = readFileSync(rootPath(audit.folder, 2), 'utf8').trim().split('\n')
    expect(text.slice(0, -1).map((line) => JSON.parse(line) as object)).toEqual([
      {
        chain: third,
        sequence: 4,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        at: expect.stringMatching(/\.\d{6}Z$/),
      },
    ])
    const { signature, ...signed } = endOf(2)
    expect(signed).toMatchObject({
      root: 2,
      previous_at: endOf(1).at,
      first_seal: '12',
      last_seal: '15',
      seals: 4,
      chains: 1,
    })
    const publicKey = createPublicKey(rootPublicKey(all.keyring.active('audit').key))
    const bytes = Buffer.from(JSON.stringify(signed))
    expect(verifySignature(null, bytes, publicKey, Buffer.from(signature, 'base64'))).toBe(true)
    expect(await audit.verify()).toMatchObject({ roots: 2, findings: [] })
  })

  test('a crash between file and note is harmless', async () => {
    await audit.seal()
    await audit.root()
    await liveThrough()
    await audit.seal()
    await audit.root()
    // As if the process had died before its transaction committed.
    await attack(all.adminUrl, ['delete from audit_roots where number = 2'])
    expect(await audit.verify()).toMatchObject({ roots: 2, findings: [] })
    await liveThrough()
    await audit.seal()
    expect(await audit.root()).toBe(2)
    expect(await audit.root()).toBe(3)
    expect(await audit.verify()).toMatchObject({ roots: 3, findings: [] })
  })

  test('half a file, as a crash leaves it, is written again', async () => {
    await audit.seal()
    writeFileSync(`${rootPath(audit.folder, 1)}.new`, '{"chain":"otp_')
    expect(await audit.root()).toBe(1)
    expect(readdirSync(audit.folder)).toEqual(['root-00000001.ndjson'])
    expect(await kinds()).toEqual([])
  })

  test('an hour has to pass, or very much to happen', async () => {
    await audit.seal()
    const root = (most: number) =>
      writeRoot(all.db, all.keyring, { folder: audit.folder, everySeconds: 3_600, most })
    expect(await root(6)).toBe(1)
    expect(await root(100)).toBeUndefined()
    expect(await root(4)).toBe(2)
    expect(await root(4)).toBeUndefined()
    expect(await audit.verify()).toMatchObject({ roots: 2, findings: [] })
  })

  test.each([
    ['a missing file', () => rmSync(rootPath(audit.folder, 1)), 'root_missing'],
    ['a changed line', () => change(1, /"sequence":4/, '"sequence":3'), 'root_broken'],
    ['a changed end', () => change(1, /"seals":11/, '"seals":9'), 'root_broken'],
    ['a file cut short', () => change(1, /[^\n]*\n$/, ''), 'root_broken'],
    [
      'another root’s file',
      () => copyFileSync(rootPath(audit.folder, 2), rootPath(audit.folder, 1)),
      'root_broken',
    ],
  ])('%s is named', async (_name, tamper, kind) => {
    await audit.seal()
    await audit.root()
    await liveThrough()
    await audit.seal()
    await audit.root()
    tamper()
    expect(await kinds()).toContain(kind)
  })

  const change = (number: number, from: RegExp, to: string) => {
    const path = rootPath(audit.folder, number)
    const text = readFileSync(path, 'utf8')
    expect(text).toMatch(from)
    chmodSync(path, 0o600)
    writeFileSync(path, text.replace(from, to))
  }

  test('notes deleted from Postgres are missed', async () => {
    for (let i = 0; i < 3; i++) {
      await liveThrough()
      await audit.seal()
      await audit.root()
    }
    await attack(all.adminUrl, ['delete from audit_roots where number > 1'])
    expect(await kinds()).toContain('root_broken')
    await attack(all.adminUrl, ['delete from audit_roots'])
    expect(await kinds()).toContain('root_broken')
  })

  test('a folder of another database is left alone, and named', async () => {
    await audit.seal()
    await audit.root()
    await attack(all.adminUrl, [
      'delete from audit_roots',
      `delete from audit_seals where number > 5`,
    ])
    await expect(audit.root()).rejects.toThrow(/was not written for this database as it is now/)
  })

  test('seals that no root covers for hours are named', async () => {
    await attack(all.adminUrl, [`update audit_events set at = at - interval '3 hours'`])
    await audit.seal()
    expect(await kinds()).toEqual(['root_late'])
    await audit.root()
    expect(await kinds()).toEqual([])
  })
})
