import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { openKeyFile } from '../../codes/key-file'
import { appIndex, seal, sealedIn } from '../../codes/seal'
import { openRequest } from '../../db/requests/sends'
import { failNotStarted } from '../../db/requests/starts'
import { type OlderDatabase, olderDatabase } from '../harness/older-database'
import { sendInput, tempKeyFile } from '../harness/seed'

/** The newest migration of the version before limits had names. */
const before = '0010_messages'

let older: OlderDatabase

beforeAll(async () => void (older = await olderDatabase(before)))
afterAll(() => older.drop())

test('what counted before an update goes on counting, and a run that could not start gives it back', async () => {
  const { db } = older
  const keyring = openKeyFile(tempKeyFile(), { strict: true })
  const recipient = { kind: 'phone' as const, value: '+233555000010' }
  const address = { appId: 'app', ...recipient }
  const { index, kid: indexKid } = appIndex(keyring, address)
  const { ciphertext, kid } = seal(keyring, recipient.value, sealedIn.recipient('app', 'rcp_old'))
  await db.many(sql`insert into apps (id, name, brand) values ('app', 'Acme', 'Acme')`)
  await db.many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
    values ('rcp_old', 'app', 'phone', ${index}, ${indexKid}, ${ciphertext}, ${kid})`)
  await db.many(sql`insert into send_windows (recipient_id, environment, sends) values
    ('rcp_old', 'staging', array[now() - interval '30 seconds', now() - interval '20 seconds']),
    ('rcp_old', 'production', '{}')`)
  await db.many(sql`insert into otp_requests (id, app_id, recipient_id, purpose, environment, risk, locale, brand, plan,
      code_salt, code_mac, code_kid, code_length, code_alphabet, max_checks, audit_seq, created_at, expires_at)
    select 'otp_old', 'app', 'rcp_old', 'old', 'staging', 'normal', 'en', 'Acme', ${JSON.stringify(sendInput().plan)}::jsonb,
      'salt', 'mac', ${keyring.active('codes').kid}, 6, 'digits', 5, 1, sends[2], now() + interval '4 minutes'
    from send_windows where environment = 'staging'`)
  await older.migrate()
  const third = await openRequest(db, keyring, sendInput({ recipient }))
  expect(third).toMatchObject({ outcome: 'created', sends: 1 })
  const fourth = () => openRequest(db, keyring, sendInput({ recipient, purpose: 'other' }))
  expect(await fourth()).toMatchObject({ outcome: 'rate_limited', limit: 'recipient' })
  expect(await failNotStarted(db, 'otp_old', 'test')).toBe(true)
  expect(await fourth()).toMatchObject({ outcome: 'created' })
})
