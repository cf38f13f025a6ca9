import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { deriveCode, macOfCode, makeSalt } from '../../codes/code'
import { openKeyFile } from '../../codes/key-file'
import { randomId } from '../../codes/random-id'
import { appIndex, seal, sealedIn } from '../../codes/seal'
import { checkCode } from '../../db/verify/checks'
import { readStatus } from '../../db/requests/status'
import { type OlderDatabase, olderDatabase } from '../harness/older-database'
import { sendInput, tempKeyFile } from '../harness/seed'

/** The newest migration of the versions whose pages held the request's own id. */
const before = '0021_trust_by_environment'

let older: OlderDatabase

beforeAll(async () => void (older = await olderDatabase(before)))
afterAll(() => older.drop())

test('a page that waited during an update checks by the id that it has', async () => {
  const { db } = older
  const keyring = openKeyFile(tempKeyFile(), { strict: true })
  const owner = { appId: 'app', environment: 'staging' as const }
  const value = '+233555000010'
  const { index, kid: indexKid } = appIndex(keyring, { appId: 'app', kind: 'phone', value })
  const { ciphertext, kid } = seal(keyring, value, sealedIn.recipient('app', 'rcp_1'))
  const requestId = randomId('otp')
  const seed = {
    requestId,
    generation: 1,
    kid: keyring.active('codes').kid,
    salt: makeSalt(),
    length: 6,
    alphabet: 'digits' as const,
  }
  const code = deriveCode(keyring, seed)
  await db.many(sql`insert into apps (id, name, brand) values ('app', 'Acme', 'Acme')`)
  await db.many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    values ('rcp_1', 'app', 'phone', ${index}, ${indexKid}, ${ciphertext}, ${kid})`)
  await db.many(sql`insert into otp_requests (id, app_id, recipient_id, purpose, environment, locale, brand, plan,
      code_salt, code_mac, code_kid, code_length, checks, max_checks, audit_seq, expires_at)
    values (${requestId}, 'app', 'rcp_1', 'publishable', 'staging', 'en', 'Acme', ${JSON.stringify(sendInput().plan)}::jsonb,
      ${seed.salt}, ${macOfCode(keyring, seed, code)}, ${seed.kid}, 6, 2, 5, 1, now() + interval '4 minutes')`)

  await older.migrate()
  const check = (typed: string) =>
    checkCode(db, keyring, {
      ...owner,
      by: { requestId, isPage: true },
      code: typed,
      actor: 'test',
    })
  const wrong = code === '000000' ? '000001' : '000000'
  // The checks that it has used stay used.
  expect(await check(wrong)).toMatchObject({ errorCode: 'INVALID_CODE', attemptsRemaining: 2 })
  expect(await check(code)).toMatchObject({ outcome: 'verified', requestId })
  expect(await readStatus(db, keyring, { ...owner, requestId })).toMatchObject({
    state: 'verified',
    pageId: requestId,
    verifiedPageId: requestId,
  })
})
