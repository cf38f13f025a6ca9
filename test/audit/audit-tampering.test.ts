import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { copyFileSync, rmSync } from 'node:fs'
import { type Keyring, UnknownKey } from '../../codes/keyring'
import { rootPath } from '../../db/audit/root-file'
import { attack, auditedRequests, auditTools } from '../harness/audit'

type Audited = Awaited<ReturnType<typeof auditedRequests>>
let all: Audited['all']
let audit: Audited['audit']
let one: Audited['one']
let other: Audited['other']
let liveThrough: Audited['liveThrough']
let kinds: Audited['kinds']
let close: Audited['close']
beforeEach(async () => {
  ;({ all, audit, one, other, liveThrough, kinds, close } = await auditedRequests())
})
afterEach(() => close())

/** What an insider with the database's superuser does, and what the verifier has to say to it. */
const tamperings: {
  name: string
  statements: () => string[]
  found: string[]
  /** Where only a root knows: nothing is left in Postgres that could. */
  needsRoot?: true
}[] = [
  {
    name: 'an edited row',
    statements: () => [
      `update audit_events set detail = '{"forged":true}' where chain = '${one}' and sequence = 3`,
    ],
    found: ['edited one 3'],
  },
  {
    name: 'a row moved in time by a microsecond',
    statements: () => [
      `update audit_events set at = at + interval '1 microsecond' where chain = '${one}' and sequence = 2`,
    ],
    found: ['edited one 2'],
  },
  {
    name: 'another actor',
    statements: () => [`update audit_events set actor = 'nobody' where chain = 'admin'`],
    found: ['edited admin 1'],
  },
  {
    name: 'a deletion in the middle',
    statements: () => [`delete from audit_events where chain = '${one}' and sequence = 2`],
    found: ['deleted one 2'],
  },
  {
    name: 'a deletion in the middle with its seal',
    statements: () =>
      ['audit_events', 'audit_seals'].map(
        (table) => `delete from ${table} where chain = '${one}' and sequence in (2, 3)`,
      ),
    found: ['deleted one 2'],
  },
  {
    name: 'a deletion at the tail',
    statements: () => [`delete from audit_events where chain = '${one}' and sequence = 4`],
    found: ['deleted one 4'],
  },
  {
    name: 'a deletion at the tail with its seal',
    statements: () =>
      ['audit_events', 'audit_seals'].map(
        (table) => `delete from ${table} where chain = '${one}' and sequence = 4`,
      ),
    found: ['deleted one 4'],
  },
  {
    name: 'a deletion at the tail with its seal, the request’s own count set back',
    statements: () => [
      ...['audit_events', 'audit_seals'].map(
        (table) => `delete from ${table} where chain = '${one}' and sequence = 4`,
      ),
      `update otp_requests set audit_seq = 3 where id = '${one}'`,
    ],
    found: ['deleted one 4'],
    needsRoot: true,
  },
  {
    name: 'all rows of a request deleted',
    statements: () =>
      ['audit_events', 'audit_seals'].map((table) => `delete from ${table} where chain = '${one}'`),
    found: ['chain_deleted one'],
  },
  {
    name: 'a whole request deleted everywhere',
    statements: () => [
      ...['audit_events', 'audit_seals'].map(
        (table) => `delete from ${table} where chain = '${one}'`,
      ),
      `delete from request_contexts where request_id = '${one}'`,
      `delete from otp_requests where id = '${one}'`,
    ],
    found: ['chain_deleted one'],
    needsRoot: true,
  },
  {
    name: 'an app’s chain deleted',
    statements: () => [
      ...['audit_events', 'audit_seals', 'audit_chains'].map(
        (table) => `delete from ${table} where chain = 'app:app'`,
      ),
    ],
    found: ['chain_deleted app:app'],
    needsRoot: true,
  },
  {
    name: 'two rows swapped by what they say',
    statements: () => [
      `update audit_events a set (type, actor, run_id, detail, at) = (b.type, b.actor, b.run_id, b.detail, b.at)
       from audit_events b where a.chain = '${one}' and b.chain = '${one}'
         and (a.sequence, b.sequence) in ((2, 3), (3, 2))`,
    ],
    found: ['swapped one 2'],
  },
  {
    name: 'two rows swapped by their place',
    statements: () => [
      `update audit_events set sequence = 99 where chain = '${one}' and sequence = 1`,
      `update audit_events set sequence = 1 where chain = '${one}' and sequence = 4`,
      `update audit_events set sequence = 4 where chain = '${one}' and sequence = 99`,
    ],
    found: ['swapped one 1'],
  },
  {
    name: 'rows of two requests swapped',
    statements: () => [
      `update audit_events a set (actor, detail, at) = (b.actor, b.detail, b.at) from audit_events b
       where a.chain in ('${one}', '${other}') and b.chain in ('${one}', '${other}') and a.chain <> b.chain
         and a.sequence = 2 and b.sequence = 2`,
    ],
    found: ['edited one 2', 'edited other 2'],
  },
  {
    name: 'a row replaced by an equal one',
    statements: () => [
      `update audit_events set id = default where chain = '${one}' and sequence = 2`,
    ],
    found: ['edited one 2'],
  },
  {
    name: 'an edited seal',
    statements: () => [
      `update audit_seals set hash = sha256('forged') where chain = '${one}' and sequence = 2`,
    ],
    found: ['edited one 2'],
  },
  {
    name: 'a deleted seal',
    statements: () => [`delete from audit_seals where chain = '${one}' and sequence = 2`],
    found: ['seal_deleted one 2'],
  },
  {
    name: 'a row that nobody numbered',
    statements: () => [
      `insert into audit_events (request_id, app_id, sequence, type, actor, detail)
       values ('${one}', 'app', 5, 'verified', 'forged', '{}')`,
    ],
    found: ['added one 5', 'unsealed one 5'],
  },
  {
    name: 'a row of days to come, numbered, that is never to be sealed',
    statements: () => [
      `insert into audit_events (request_id, app_id, sequence, type, actor, detail, at)
       values ('${one}', 'app', 5, 'verified', 'forged', '{}', '2999-01-01')`,
      `update otp_requests set audit_seq = 5 where id = '${one}'`,
    ],
    found: ['unsealed one 5'],
  },
  {
    name: 'the same, put in line',
    statements: () => [
      `insert into audit_events (request_id, app_id, sequence, type, actor, detail, at)
       values ('${one}', 'app', 5, 'verified', 'forged', '{}', '2999-01-01')`,
      `insert into audit_unsealed select id from audit_events where at > now() + interval '1 day'`,
      `update otp_requests set audit_seq = 5 where id = '${one}'`,
    ],
    found: ['unsealed one 5'],
  },
  {
    name: 'seals numbered anew',
    statements: () => [`update audit_seals set number = number + 1000 where chain = '${one}'`],
    found: [1, 2, 3, 4].map((row) => `edited one ${row}`),
  },
]

describe('what a superuser changes behind our back', () => {
  test.each(tamperings)('$name is named', async ({ statements, found, needsRoot }) => {
    await audit.seal()
    if (needsRoot) await audit.root()
    expect(await kinds()).toEqual([])
    await attack(all.adminUrl, statements())
    // Without a root, a missing seal is also seen as a gap in the numbers.
    const told = (await kinds()).filter((finding) => finding !== 'deleted')
    expect(told.sort()).toEqual(found.toSorted())
  })

  test('a chain made anew with a stolen key still differs from the root', async () => {
    await audit.seal()
    await audit.root()
    await attack(all.adminUrl, [
      `update audit_events set actor = 'nobody' where chain = '${one}' and sequence = 1`,
      `insert into audit_unsealed select id from audit_events where chain = '${one}'`,
      `delete from audit_seals where chain = '${one}'`,
    ])
    await audit.seal()
    expect(await kinds()).toContain('edited one 4')
  })

  test('rows that wait too long for their seal are named, those of the last minute not', async () => {
    expect(await kinds()).toEqual([])
    await attack(all.adminUrl, [`update audit_events set at = at - interval '61 seconds'`])
    expect((await kinds()).sort()).toEqual(
      ['unsealed admin 1', 'unsealed app:app 1', 'unsealed one 1', 'unsealed other 1'].sort(),
    )
  })

  test('a seal with a key that is not in the key file is named', async () => {
    await audit.seal()
    const withKeys: Keyring = {
      ...all.keyring,
      find(purpose, kid) {
        throw new UnknownKey(purpose, kid)
      },
    }
    expect(await kinds({ withKeys })).toEqual(expect.arrayContaining(['unknown_key one 1']))
  })

  test('a key that was replaced still verifies what it sealed', async () => {
    await audit.seal()
    await audit.root()
    const next = Buffer.alloc(32, 7)
    const rotated: Keyring = {
      ...all.keyring,
      active: (purpose) =>
        purpose === 'audit' ? { kid: 'next', key: next } : all.keyring.active(purpose),
      find: (purpose, kid) =>
        kid === 'next' ? { kid, key: next } : all.keyring.find(purpose, kid),
    }
    const later = auditTools({ db: all.db, keyring: rotated })
    await liveThrough()
    await later.seal()
    copyFileSync(rootPath(audit.folder, 1), rootPath(later.folder, 1))
    await later.root()
    expect(await later.verify()).toMatchObject({ roots: 2, findings: [] })
    rmSync(later.folder, { recursive: true })
  })
})
