import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { accountAt, message, soon } from '../harness/infobip'
import { startRecorder } from '../harness/recorder'

let service: Awaited<ReturnType<typeof startRecorder>>
beforeAll(async () => {
  service = await startRecorder()
})
afterAll(() => service.close())

const answerJson = (body: unknown, status = 200) =>
  service.answerWith(() => ({ status, body: JSON.stringify(body) }))

describe('what an answer means', () => {
  const answered = (status: object) => ({ bulkId: 'b', messages: [{ messageId: 'm-1', status }] })
  const outcome = () =>
    accountAt(service.url)
      .sender.send(message, soon())
      .then(
        (sent) => sent,
        (error: { fault?: string }) => error.fault ?? error,
      )

  test.each([
    [1, 26, 'PENDING_ACCEPTED'],
    [1, 7, 'PENDING_ENROUTE'],
    [1, 3, 'PENDING_WAITING_DELIVERY'],
    [3, 2, 'DELIVERED_TO_OPERATOR'],
    [3, 5, 'DELIVERED_TO_HANDSET'],
    [4, 29, 'EXPIRED_DLR_UNKNOWN'],
    [5, 23, 'REJECTED_DUPLICATE_MESSAGE_ID'],
    [0, 0, 'SOMETHING_NEW'],
    [1, 999, 'PENDING_SOMETHING_NEW'],
    [7, 999, 'A_NEW_GROUP'],
  ])('taken: group %d, %d %s', async (groupId, id, name) => {
    answerJson(answered({ groupId, id, name }))
    expect(await outcome()).toEqual({
      providerMessageId: 'm-1',
      cost: undefined,
      instruction: undefined,
    })
  })

  test.each([
    ['REJECTED_NETWORK', 6, 'unroutable'],
    ['REJECTED_PREFIX_MISSING', 8, 'invalid_number'],
    ['REJECTED_DND', 10, 'blocked'],
    ['REJECTED_SOURCE', 11, 'config'],
    ['REJECTED_NOT_ENOUGH_CREDITS', 12, 'config'],
    ['REJECTED_SENDER', 13, 'config'],
    ['REJECTED_DESTINATION_BLOCKLISTED', 14, 'blocked'],
    ['REJECTED_PREPAID_PACKAGE_EXPIRED', 17, 'config'],
    ['REJECTED_DESTINATION_NOT_REGISTERED', 18, 'unroutable'],
    ['REJECTED_ROUTE_NOT_AVAILABLE', 19, 'unroutable'],
    ['REJECTED_FLOODING_FILTER', 20, 'unroutable'],
    ['REJECTED_SYSTEM_ERROR', 21, 'unavailable'],
    ['REJECTED_INVALID_UDH', 24, 'config'],
    ['REJECTED_MESSAGE_TOO_LONG', 25, 'unroutable'],
    ['MISSING_TO', 51, 'invalid_number'],
    ['REJECTED_DESTINATION', 52, 'invalid_number'],
    ['REJECTED_UNSUPPORTED_LANGUAGE', 54, 'unroutable'],
    ['REJECTED_INVALID_NOTIFY_URL', 56, 'config'],
    ['REJECTED_MACHINE_DETECTION_DISABLED', 83, 'config'],
    ['SIGNALS_BLOCKED', 87, 'blocked'],
    ['UNDELIVERABLE_REJECTED_PLATFORM', 100, 'unavailable'],
    ['REJECTED_FOR_A_NEW_REASON', 999, 'unroutable'],
  ])('refused: %s (%d) is %s', async (name, id, fault) => {
    answerJson(answered({ groupId: 5, groupName: 'REJECTED', id, name }))
    expect(await outcome()).toBe(fault)
  })

  test.each<[string, number, unknown, string]>([
    [
      'a number, as v3 names it',
      400,
      { errorCode: 'E400', violations: [{ property: 'messages[0].destinations[0].to' }] },
      'invalid_number',
    ],
    [
      'a number, as older calls name it',
      400,
      { requestError: { serviceException: { validationErrors: { 'messages[0].to': ['no'] } } } },
      'invalid_number',
    ],
    [
      'something else of the request',
      400,
      { errorCode: 'E400', violations: [{ property: 'messages[0].sender' }] },
      'config',
    ],
    [
      'a language that is not spoken',
      400,
      { errorCode: 'E400', violations: [{ property: 'messages[0].language' }] },
      'unroutable',
    ],
    ['a bad request that says no more', 400, null, 'config'],
    ['a wrong key', 401, { requestError: { serviceException: { messageId: 'U' } } }, 'config'],
    ['too many requests', 429, {}, 'throttled'],
    ['its own fault', 500, {}, 'unavailable'],
    ['its gateway’s fault', 502, {}, 'in_doubt'],
  ])('%s: %d', async (_title, status, body, fault) => {
    answerJson(body, status)
    expect(await outcome()).toBe(fault)
  })

  test.each([
    '',
    'null',
    '[]',
    '{"messages":[]}',
    '{"messages":[{"messageId":7,"status":1}]}',
    '<',
  ])('a 2xx with %p is an acceptance under our own id', async (body) => {
    service.answerWith(() => ({ body }))
    expect(await outcome()).toMatchObject({ providerMessageId: 'att_1' })
  })
})
