import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { seed } from '../../cli/seed'
import { idOfKey } from '../../codes/api-key'
import { createDatabase, type Database } from '../../db'
import { createApiKey, findApiKey, revokeKey } from '../../db/apps/api-keys'
import { freshDatabase } from '../harness/database'

let db: Database
let databaseUrl: string
let drop: () => Promise<void>
const keysFile = join(mkdtempSync(join(tmpdir(), 'otpilot-seed-')), 'keys.json')

beforeAll(async () => {
  ;({ url: databaseUrl, drop } = await freshDatabase())
  db = createDatabase(databaseUrl)
})
afterAll(async () => {
  await db.close()
  await drop()
})

const keyNamed = async (keys: Record<string, string>, name: string) =>
  findApiKey(db, idOfKey(keys[name] ?? '') ?? '')

test('npm start makes its keys once, and a new one only for one that works no more', async () => {
  const first = await seed(databaseUrl, { keysFile, known: {} })
  expect(await keyNamed(first, 'OTPILOT_ADMIN_KEY')).toMatchObject({ app: null, scopes: ['admin'] })
  for (const [name, expected] of [
    ['OTP_API_KEY', { environment: 'staging', scopes: ['send', 'verify', 'read'] }],
    ['OTPILOT_LIVE_KEY', { environment: 'production', scopes: ['send', 'verify', 'read'] }],
    ['OTPILOT_PUBLISHABLE_KEY', { publishable: true, scopes: ['send', 'verify'] }],
  ] as const)
    expect(await keyNamed(first, name)).toMatchObject({ app: { id: 'demo' }, ...expected })

  expect(await seed(databaseUrl, { keysFile, known: first })).toEqual(first)

  await revokeKey(db, idOfKey(first.OTP_API_KEY ?? '') ?? '')
  const third = await seed(databaseUrl, { keysFile, known: first })
  expect(third).toEqual({ ...first, OTP_API_KEY: expect.any(String) })
  expect(third.OTP_API_KEY).not.toBe(first.OTP_API_KEY)
})

test('an older data folder’s key gets the quota of a new one, unless somebody chose another', async () => {
  const known = await seed(databaseUrl, { keysFile, known: {} })
  const id = idOfKey(known.OTP_API_KEY ?? '') ?? ''
  const quotaAfter = async (before: number) => {
    await db.many(sql`update api_keys set requests_per_minute = ${before} where id = ${id}`)
    expect(await seed(databaseUrl, { keysFile, known })).toEqual(known)
    return (await findApiKey(db, id))?.requestsPerMinute
  }
  expect([await quotaAfter(6_000), await quotaAfter(77)]).toEqual([1_000_000, 77])
})

test('an older data folder’s administrator of the demo app gives way to an operator’s key', async () => {
  const known = await seed(databaseUrl, { keysFile, known: {} })
  const old = await createApiKey(db, { appId: 'demo', environment: 'staging', scopes: ['admin'] })
  const keys = await seed(databaseUrl, {
    keysFile,
    known: { ...known, OTPILOT_ADMIN_KEY: old.key },
  })
  expect({ ...keys, OTPILOT_ADMIN_KEY: '' }).toEqual({ ...known, OTPILOT_ADMIN_KEY: '' })
  expect(await keyNamed(keys, 'OTPILOT_ADMIN_KEY')).toMatchObject({ app: null, usable: true })
  expect((await findApiKey(db, old.id))?.usable).toBe(false)
})
