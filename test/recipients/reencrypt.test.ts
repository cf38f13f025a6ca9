import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { type KeyFile, openKeyFile } from '../../codes/key-file'
import { addKeys } from '../../codes/key-rotation'
import type { Keyring, KeyPurpose } from '../../codes/keyring'
import { appIndex, seal, sealedIn, unseal } from '../../codes/seal'
import { keyUses } from '../../db/upkeep/key-use'
import { findRecipient, openRecipient } from '../../db/recipients/recipients'
import { reencrypt } from '../../db/upkeep/reencrypt'
import { readStatus } from '../../db/requests/status'
import { until } from '../harness/client'
import { requestsOnly } from '../harness/requests'
import { tempKeyFile } from '../harness/seed'

const path = tempKeyFile()
const before = openKeyFile(path, { strict: true, rereadMs: 3_600_000 })
let requests: Awaited<ReturnType<typeof requestsOnly>>

interface Stored {
  requestId: string
  value: string
}
const count = 60
const stored: Stored[] = []
const endpoint = { id: 'ep_1', appId: 'app', secret: 'whsec_new', previous: 'whsec_old' }

beforeAll(async () => {
  requests = await requestsOnly(before)
  for (let i = 0; i < count; i++) {
    const recipient = requests.freshNumber()
    const { requestId } = await requests.open({
      recipient,
      ...(i % 3 === 0 ? {} : { message: `Message ${i}: {{code}}` }),
      ...(i % 2 === 0 ? {} : { metadata: { order: `order-${i}` } }),
    })
    stored.push({ requestId, value: recipient.value })
  }
  const context = sealedIn.endpointSecret('app', endpoint.id)
  const [secret, previous] = [endpoint.secret, endpoint.previous].map((text) =>
    seal(before, text, context),
  )
  await requests.db.many(sql`insert into event_endpoints
    (id, app_id, environment, url, secret_ciphertext, secret_kid, previous_secret_ciphertext, previous_secret_kid)
    values (${endpoint.id}, 'app', 'staging', 'https://example.com', ${secret?.ciphertext}, ${secret?.kid},
      ${previous?.ciphertext}, ${previous?.kid})`)
})
afterAll(() => requests.close())

/** Adds keys, and gives a keyring for which they are in use. */
function rotate(...purposes: KeyPurpose[]) {
  addKeys(path, purposes)
  return openKeyFile(path, { strict: true, settleMs: 0 })
}

/** The same without its older keys. */
function withoutOlder(keyring: Keyring, purposes: readonly KeyPurpose[]) {
  const file = JSON.parse(readFileSync(path, 'utf8')) as KeyFile
  for (const purpose of purposes)
    file[purpose] = file[purpose].filter(({ kid }) => kid === keyring.active(purpose).kid)
  const pruned = tempKeyFile()
  writeFileSync(pruned, JSON.stringify(file))
  return openKeyFile(pruned, { strict: true, settleMs: 0 })
}

const kidsOf = (table: string, column: string) =>
  requests.db
    .many<{ kid: string }>(
      sql`select distinct ${sql.raw(column)} as kid from ${sql.raw(table)}
      where ${sql.raw(column)} is not null`,
    )
    .then((rows) => rows.map(({ kid }) => kid))

async function expectAllReadable(keyring: Keyring): Promise<void> {
  const looks = stored.map(async ({ requestId, value }, i) => {
    const address = { appId: 'app', kind: 'phone' as const, value }
    const found = await findRecipient(requests.db, keyring, address)
    expect(await openRecipient(requests.db, keyring, found?.id ?? '')).toBe(value)
    const status = await readStatus(requests.db, keyring, { ...requests.owner, requestId })
    expect(status?.metadata).toEqual(i % 2 === 0 ? undefined : { order: `order-${i}` })
    const row = await requests.db.one<{ ciphertext: Buffer | null; kid: string }>(
      sql`select message_ciphertext as ciphertext, seal_kid as kid from otp_requests where id = ${requestId}`,
    )
    const message =
      row?.ciphertext &&
      unseal(keyring, { ciphertext: row.ciphertext, kid: row.kid }, sealedIn.message(requestId))
    expect(message).toBe(i % 3 === 0 ? null : `Message ${i}: {{code}}`)
  })
  await Promise.all(looks)
  const row = await requests.db.one<
    Record<'secret' | 'previous', Buffer> & Record<'kid' | 'previousKid', string>
  >(
    sql`select secret_ciphertext as secret, secret_kid as kid, previous_secret_ciphertext as previous,
      previous_secret_kid as "previousKid" from event_endpoints where id = ${endpoint.id}`,
  )
  if (!row) throw new Error('no endpoint')
  const context = sealedIn.endpointSecret('app', endpoint.id)
  expect(unseal(keyring, { ciphertext: row.secret, kid: row.kid }, context)).toBe(endpoint.secret)
  expect(unseal(keyring, { ciphertext: row.previous, kid: row.previousKid }, context)).toBe(
    endpoint.previous,
  )
}

test('moves everything to the new keys, in batches; then the old ones are not needed', async () => {
  const keyring = rotate('phones', 'app_index')
  const moves: number[] = []
  const onMoved = (_kind: string, count: number) => void moves.push(count)
  const result = await reencrypt(requests.db, keyring, { batch: 25, onMoved })
  const sealedRequests = stored.filter((_, i) => i % 2 === 1 || i % 3 !== 0).length
  expect(result).toEqual({ moved: count + sealedRequests + 1, stuck: [], left: 0 })
  expect(Math.max(...moves)).toBe(25)
  expect(await kidsOf('recipients', 'kid')).toEqual([keyring.active('phones').kid])
  expect(await kidsOf('recipients', 'index_kid')).toEqual([keyring.active('app_index').kid])
  expect(await kidsOf('otp_requests', 'seal_kid')).toEqual([keyring.active('phones').kid])
  await expectAllReadable(withoutOlder(keyring, ['phones', 'app_index']))
  expect((await reencrypt(requests.db, keyring, { batch: 25 })).moved).toBe(0)
})

test('an index key alone is replaced without a change of the phone key', async () => {
  const keyring = rotate('app_index')
  const phones = keyring.active('phones').kid
  expect(await reencrypt(requests.db, keyring, { batch: 250 })).toMatchObject({
    moved: count,
    left: 0,
  })
  expect(await kidsOf('recipients', 'kid')).toEqual([phones])
  await expectAllReadable(withoutOlder(keyring, ['app_index']))
})

test('two at once share the work: every row moves once', async () => {
  const keyring = rotate('phones', 'app_index')
  const [one, two] = await Promise.all([
    reencrypt(requests.db, keyring, { batch: 7 }),
    reencrypt(requests.db, keyring, { batch: 7 }),
  ])
  expect(one.left + two.left).toBe(0)
  const sealedRequests = stored.filter((_, i) => i % 2 === 1 || i % 3 !== 0).length
  expect(one.moved + two.moved).toBe(count + sealedRequests + 1)
  await expectAllReadable(withoutOlder(keyring, ['phones', 'app_index']))
})

test('a row that a send holds is passed over, without waiting, and moved when it is free', async () => {
  const keyring = rotate('phones')
  const held = await requests.db.one<{ id: string }>(
    sql`select id from recipients order by id limit 1`,
  )
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => (release = resolve))
  let isHeld = false
  const holding = requests.db.transaction(async (tx) => {
    await tx.many(sql`select from recipients where id = ${held?.id} for key share`)
    isHeld = true
    await released
  })
  await until(async () => isHeld)
  const movedBy: number[] = []
  const since = performance.now()
  const moving = reencrypt(requests.db, keyring, {
    batch: 250,
    onMoved: () => void movedBy.push(performance.now() - since),
  })
  const others = async () =>
    (
      await requests.db.one<{ count: number }>(sql`select count(*)::int as count
        from recipients where kid = ${keyring.active('phones').kid}`)
    )?.count
  await until(async () => (await others()) === count - 1, { what: 'the moves of all others' })
  release()
  await holding
  expect(await moving).toMatchObject({ left: 0, stuck: [] })
})

describe('what cannot be moved', () => {
  test('is named, and keeps nothing else from moving; what is erased is left alone', async () => {
    const [tampered, erased] = stored
    await requests.db
      .many(sql`update recipients r set ciphertext = o.ciphertext from recipients o, otp_requests q
      where q.id = ${tampered?.requestId} and r.id = q.recipient_id and o.id <> r.id and o.ciphertext is not null`)
    const row = await requests.db.one<{ id: string }>(
      sql`select recipient_id as id from otp_requests where id = ${tampered?.requestId}`,
    )
    await requests.db
      .many(sql`update recipients r set ciphertext = null, erased_at = now(), index = '\\x00'
      from otp_requests q where q.id = ${erased?.requestId} and r.id = q.recipient_id`)
    const keyring = rotate('phones', 'app_index')
    const result = await reencrypt(requests.db, keyring, { batch: 30 })
    // Under an older key of either purpose, so it is met, and counted, for each.
    const stuck = { kind: 'recipients', id: row?.id, why: 'unreadable' }
    expect(result.stuck).toEqual([stuck, stuck])
    expect(result.left).toBe(2)
    const active = keyring.active('phones').kid
    const uses = (await keyUses(requests.db, [])).filter(({ purpose }) => purpose === 'phones')
    expect(uses.find(({ kid, what }) => kid === active && what === 'recipients')?.rows).toBe(
      count - 2,
    )
    expect(uses.filter(({ kid }) => kid !== active)).toEqual([
      { purpose: 'phones', kid: expect.any(String), what: 'recipients', rows: 1 },
    ])
  })

  test('an address in two rows does not stop the others', async () => {
    const third = stored[2]
    const keyring = rotate('app_index')
    const address = { appId: 'app', kind: 'phone' as const, value: third?.value ?? '' }
    const { index, kid } = appIndex(keyring, address)
    await requests.db
      .many(sql`insert into recipients (id, app_id, kind, index, index_kid, ciphertext, kid)
      select 'rcp_twin', app_id, kind, ${index}, ${kid}, ciphertext, kid from recipients r
      where exists (select from otp_requests q where q.id = ${third?.requestId} and q.recipient_id = r.id)`)
    const result = await reencrypt(requests.db, keyring, { batch: 30 })
    expect(result.moved).toBe(count - 3)
    const whys = new Set(result.stuck.map(({ why }) => why))
    expect(whys).toEqual(new Set(['unreadable', 'twin']))
  })
})
