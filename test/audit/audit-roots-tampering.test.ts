import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { signRoot } from '../../codes/audit-chain'
import { type RootEnd, rootPath } from '../../db/audit/root-file'
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

describe('what a superuser tries against the roots, whose folder is out of reach', () => {
  const everywhere = (id: string): string[] => [
    ...['audit_events', 'audit_seals'].map((table) => `delete from ${table} where chain = '${id}'`),
    `delete from request_contexts where request_id = '${id}'`,
    `delete from otp_requests where id = '${id}'`,
  ]
  const messages = async () => (await audit.verify()).findings.map(({ message }) => message)

  /** A root, and then a request with rows 12 to 15 of all that is sealed, and another. */
  async function rootThenRequests(): Promise<string> {
    await audit.seal()
    await audit.root()
    const id = await liveThrough()
    await liveThrough()
    await audit.seal()
    return id
  }

  test('a request deleted everywhere before its root leaves a gap in the numbers, before and after that root', async () => {
    const gone = await rootThenRequests()
    await attack(all.adminUrl, everywhere(gone))
    const { findings } = await audit.verify()
    expect(findings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^4 rows sealed since the last root are gone/),
    ])
    await audit.root()
    expect((await audit.verify()).findings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^4 seals numbered 12 to 19 were gone before root 2 was written/),
    ])
  })

  test('a note that claims more than its root hides no gap', async () => {
    const gone = await rootThenRequests()
    await attack(all.adminUrl, [
      ...everywhere(gone),
      `update audit_roots set last_seal = (select max(number) from audit_seals)`,
    ])
    const changed = 'root 1: what Postgres noted of it was changed'
    expect(await messages()).toEqual([changed, expect.stringMatching(/^4 rows sealed since/)])
    await audit.root()
    expect(await messages()).toEqual([
      changed,
      expect.stringMatching(/^4 seals numbered 12 to 19 were gone before root 2/),
    ])
  })

  test('a note without a root, by the service’s own role, hides nothing either', async () => {
    const id = await rootThenRequests()
    await all.db.many(sql`insert into audit_roots (number, last_seal, digest, at)
      select 2, max(number), sha256('x'), '2000-01-01' from audit_seals`)
    expect(await kinds()).toEqual(['root_missing'])
    expect(await audit.root()).toBe(3)
    expect(await kinds()).toEqual(['root_missing'])
    await attack(all.adminUrl, everywhere(id))
    expect((await kinds()).toSorted()).toEqual([`chain_deleted ${id}`, 'root_missing'])
  })

  test.each([
    ['of no chain', `alter table audit_seals drop constraint audit_seals_place`, `''`, '-n'],
    ['of no row', 'select 1', `'otp_nobody'`, 'n'],
  ])('seals %s fill no gap', async (_what, first, chain, sequence) => {
    const gone = await rootThenRequests()
    await attack(all.adminUrl, [
      ...everywhere(gone),
      first,
      `insert into audit_seals (number, event_id, chain, sequence, hash, kid)
       select n, -n, ${chain}, ${sequence}, '', 'x' from generate_series(12, 19) n
       where not exists (select from audit_seals s where s.number = n)`,
    ])
    expect(await kinds()).not.toEqual([])
    await audit.root()
    await attack(all.adminUrl, [`delete from audit_seals where chain = ${chain}`])
    expect(await messages()).toEqual([
      expect.stringMatching(/^4 seals numbered 12 to 19 were gone before root 2/),
    ])
  })

  test('a row that says it is old, only while its root is written, is not thereby old', async () => {
    const id = await rootThenRequests()
    const move = (days: number) =>
      attack(all.adminUrl, [
        `update audit_events set at = at + interval '${days} days' where chain = '${id}'`,
      ])
    await move(-400)
    await audit.root()
    await move(400)
    expect(await kinds()).toEqual([`edited ${id} 4`])
    await attack(all.adminUrl, everywhere(id))
    expect(await kinds()).toContain(`chain_deleted ${id}`)
  })

  test('a note from the future stops no root', async () => {
    await rootThenRequests()
    await attack(all.adminUrl, [`update audit_roots set at = '2999-01-01'`])
    expect(await kinds()).toEqual(['root_broken'])
    expect(await audit.root()).toBe(2)
    expect(await audit.verify()).toMatchObject({ roots: 2 })
  })

  test('neither notes nor times of sealing hide that roots have stopped', async () => {
    await audit.seal()
    await audit.root()
    await liveThrough()
    const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
    await attack(all.adminUrl, [
      `update audit_events set at = at - interval '3 hours' where id > 11`,
    ])
    await audit.seal()
    signAnew(1, { at: hoursAgo(4) })
    expect(await kinds()).toContain('root_late')
    await attack(all.adminUrl, [
      `update audit_roots set at = '2999-01-01'`,
      `update audit_seals set sealed_at = '2999-01-01'`,
    ])
    expect(await kinds()).toContain('root_late')
  })

  test('only the oldest roots may be missing, and only by the signed times of those after them', async () => {
    for (let i = 0; i < 3; i++) {
      await liveThrough()
      await audit.seal()
      await audit.root()
    }
    rmSync(rootPath(audit.folder, 1))
    await attack(all.adminUrl, [`update audit_roots set at = '2000-01-01' where number = 1`])
    expect(await kinds()).toEqual(['root_missing'])
    signAnew(2, { previous_at: '2000-01-01T00:00:00.000Z' })
    expect(await kinds()).not.toContain('root_missing')
    rmSync(rootPath(audit.folder, 2))
    copyFileSync(rootPath(audit.folder, 3), rootPath(audit.folder, 2))
    expect(await kinds()).toContain('root_broken')
  })

  test('a root does not go back in time', async () => {
    await rootThenRequests()
    await audit.root()
    signAnew(2, { at: '2000-01-01T00:00:00.000Z' })
    expect(await messages()).toContain('root 2: it does not follow the one before it')
  })

  /** What only who holds the audit key can do. */
  function signAnew(number: number, changed: Partial<RootEnd>): void {
    const path = rootPath(audit.folder, number)
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    const { signature: _, ...end } = {
      ...(JSON.parse(lines.pop() ?? '') as RootEnd),
      ...changed,
    }
    const signature = signRoot(all.keyring.active('audit').key, JSON.stringify(end))
    lines.push(JSON.stringify({ ...end, signature }), '')
    writeFileSync(path, lines.join('\n'))
  }
})
