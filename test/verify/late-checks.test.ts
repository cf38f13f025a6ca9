import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { requestsOnly } from '../harness/requests'

let requests: Awaited<ReturnType<typeof requestsOnly>>

beforeAll(async () => {
  requests = await requestsOnly()
})
afterAll(() => requests.close())

test('checks after the end are audited twenty times within an hour, and answered all the same', async () => {
  const rowsOf = async (id: string) =>
    (
      await requests.db.many(sql`select sequence from audit_events
        where request_id = ${id} and type = 'check_rejected' order by sequence`)
    ).length
  const { requestId } = await requests.open()
  const code = await requests.codeOf(requestId)
  await requests.check(requestId, code)
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => requests.check(requestId, code)),
  )
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1)
  expect(answers[0]).toMatchObject({ outcome: 'rejected', errorCode: 'ALREADY_USED' })
  expect(await rowsOf(requestId)).toBe(20)
  // No number is taken by a check without a row: the audit has no gap.
  const gaps = sql`select sequence from audit_events a where request_id = ${requestId} and sequence > 1
    and not exists (select from audit_events b where b.request_id = a.request_id and b.sequence = a.sequence - 1)`
  expect(await requests.db.many(gaps)).toEqual([])

  const { requestId: older } = await requests.open()
  const olderCode = await requests.codeOf(older)
  await requests.check(older, olderCode)
  await requests.db.many(sql`update otp_requests set ended_at = ended_at - interval '3601 seconds'
    where id = ${older}`)
  expect(await requests.check(older, olderCode)).toMatchObject({ errorCode: 'ALREADY_USED' })
  expect(await rowsOf(older)).toBe(0)
})
