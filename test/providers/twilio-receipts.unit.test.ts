import { describe, expect, test } from '@jest/globals'
import {
  messageSid,
  callSid,
  publicUrl,
  ours,
  form,
  receiptsOf,
  delivered,
  type Fields,
} from '../harness/twilio-callbacks'

/** Written from the table in the providers' reference, not from the code. */
const codes: [status: string, codes: number[]][] = [
  ['failed.permanent', [21211, 21214, 21217, 21610, 21614, 21635, 30004, 30005, 30006, 63003]],
  ['failed.permanent', [63024, 63014, 21612, 30007]],
  ['failed.retryable', [30001, 30003, 30008, 21611, 63018, 20429, 34002]],
  ['expired', [30036]],
  ['failed.config', [20003, 30002, 63016, 63017, 63038, 60728]],
  // Of this number's country only, so not the account's.
  ['failed.permanent', [21408, 21608, 60601]],
  // Unknown ones are safe.
  ['failed.retryable', [1, 30999, 99999]],
]

describe('reports about messages', () => {
  test.each([
    ['accepted', 'accepted'],
    ['scheduled', 'accepted'],
    ['queued', 'accepted'],
    ['sending', 'accepted'],
    ['sent', 'sent'],
    ['partially_delivered', 'sent'],
    ['delivered', 'delivered'],
    ['read', 'delivered'],
    ['undelivered', 'failed.retryable'],
    ['failed', 'failed.retryable'],
    ['canceled', 'failed.permanent'],
    ['receiving', 'unknown'],
    ['received', 'unknown'],
    ['moonwalking', 'unknown'],
  ])('%s is %s', (MessageStatus, status) => {
    const callback = form({ MessageSid: messageSid, MessageStatus, NewOne: 'x' })
    expect(receiptsOf(callback)).toEqual([
      {
        status,
        rawStatus: MessageStatus,
        eventKey: `${messageSid}:${MessageStatus}`,
        providerMessageId: messageSid,
      },
    ])
  })

  test.each(codes.flatMap(([status, all]) => all.map((code): [number, string] => [code, status])))(
    'undelivered by %i is %s',
    (code, status) => {
      const fields = { MessageSid: messageSid, MessageStatus: 'undelivered' }
      expect(receiptsOf(form({ ...fields, ErrorCode: String(code) }))).toMatchObject([
        { status, rawStatus: `undelivered ${code}` },
      ])
    },
  )

  test('what is delivered stays so, whatever code comes with it', () => {
    expect(receiptsOf(form({ ...delivered, ErrorCode: '30003' }))).toMatchObject([
      { status: 'delivered' },
    ])
  })

  test('a repeated callback is the same event, another status another one', () => {
    const keyOf = (MessageStatus: string, more: Record<string, string> = {}, headers = {}) =>
      receiptsOf(form({ MessageSid: messageSid, MessageStatus, ...more }, { headers }))?.[0]
        ?.eventKey
    const first = keyOf('sent')
    expect(
      keyOf('sent', { RawDlrDoneDate: '2611230500' }, { 'i-twilio-idempotency-token': 'x' }),
    ).toBe(first)
    expect(keyOf('delivered')).not.toBe(first)
  })

  test('the old names alone will do', () => {
    expect(receiptsOf(form({ SmsSid: messageSid, SmsStatus: 'sent' }))).toMatchObject([
      { status: 'sent', providerMessageId: messageSid },
    ])
  })

  test.each<[string, Fields]>([
    ['no fields', {}],
    ['no status', { MessageSid: messageSid }],
    ['no message', { MessageStatus: 'sent' }],
  ])('genuine, but no report: %s', (_title, fields) => {
    expect(receiptsOf(form(fields))).toEqual([])
  })

  test('a status that is none is kept out of the record', () => {
    const fields = { MessageSid: messageSid, MessageStatus: '+233241234567', ErrorCode: '+233241' }
    expect(receiptsOf(form(fields))).toMatchObject([{ status: 'unknown', rawStatus: 'unreadable' }])
  })
})

describe('reports about calls', () => {
  const detecting = `${publicUrl}?answered-by=later`
  test.each<[Fields, string, typeof detecting | undefined]>([
    [{ CallStatus: 'queued' }, 'accepted', undefined],
    [{ CallStatus: 'initiated' }, 'accepted', undefined],
    [{ CallStatus: 'ringing' }, 'sent', undefined],
    [{ CallStatus: 'in-progress' }, 'answered', undefined],
    [{ CallStatus: 'completed', CallDuration: '12' }, 'answered', undefined],
    [{ CallStatus: 'completed', CallDuration: '0' }, 'unknown', undefined],
    [{ CallStatus: 'completed' }, 'unknown', undefined],
    [{ CallStatus: 'busy' }, 'failed.retryable', undefined],
    [{ CallStatus: 'no-answer' }, 'failed.retryable', undefined],
    [{ CallStatus: 'failed' }, 'failed.retryable', undefined],
    [{ CallStatus: 'failed', ErrorCode: '21214' }, 'failed.permanent', undefined],
    [{ CallStatus: 'failed', ErrorCode: '21217' }, 'failed.permanent', undefined],
    [{ CallStatus: 'failed', ErrorCode: '99999' }, 'failed.retryable', undefined],
    [{ CallStatus: 'canceled' }, 'failed.permanent', undefined],
    [{ CallStatus: 'moonwalking' }, 'unknown', undefined],
    [{ CallStatus: 'in-progress', AnsweredBy: 'machine_start' }, 'failed.retryable', undefined],
    [
      { CallStatus: 'completed', CallDuration: '9', AnsweredBy: 'fax' },
      'failed.retryable',
      undefined,
    ],
    [{ CallStatus: 'completed', CallDuration: '9', AnsweredBy: 'human' }, 'answered', undefined],
    // While it is being found out who answered, that somebody did says nothing.
    [{ CallStatus: 'in-progress' }, 'sent', detecting],
    [{ CallStatus: 'in-progress', AnsweredBy: 'human' }, 'answered', detecting],
    [{ CallStatus: 'completed', CallDuration: '9' }, 'answered', detecting],
    [{ AnsweredBy: 'human' }, 'answered', detecting],
    [{ AnsweredBy: 'unknown' }, 'answered', detecting],
    [{ AnsweredBy: 'machine_end_beep' }, 'failed.retryable', detecting],
    [{ AnsweredBy: 'fax' }, 'failed.retryable', detecting],
    [{ AnsweredBy: 'something_new' }, 'answered', detecting],
  ])('%j is %s', (fields, status, url) => {
    const callback = form({ CallSid: callSid, ...fields }, { url: url ?? publicUrl })
    expect(receiptsOf(callback)).toMatchObject([{ status, providerMessageId: callSid }])
  })

  test('that a call lasted is a conclusion where it was not said who answered', () => {
    const fields = { CallSid: callSid, CallStatus: 'completed', CallDuration: '9' }
    const inferred = (more: Fields, url: string) =>
      receiptsOf(form({ ...fields, ...more }, { url }))?.[0]?.inferred ?? false
    expect(inferred({}, detecting)).toBe(true)
    expect(inferred({ AnsweredBy: 'human' }, detecting)).toBe(false)
    expect(inferred({}, publicUrl)).toBe(false)
  })

  test('when it happened is what Twilio says', () => {
    const fields = { CallSid: callSid, CallStatus: 'ringing' }
    const at = (Timestamp: string) => receiptsOf(form({ ...fields, Timestamp }))?.[0]?.at
    expect(at('Mon, 23 Nov 2026 05:00:10 +0000')).toEqual(new Date('2026-11-23T05:00:10Z'))
    expect(at('soon')).toBeUndefined()
  })

  test('genuine, but no report', () => {
    expect(receiptsOf(form({ CallSid: callSid }))).toEqual([])
  })
})

describe('a call that was answered', () => {
  const url = `${publicUrl}/answer`
  const speech = { text: 'Your <Acme> code is 4 8 2 9 1 3. It ends in 5 minutes.', locale: 'en' }
  const say = (fields: Fields, said: typeof speech | undefined) => {
    const { calls } = ours
    const callback = form({ CallSid: callSid, CallStatus: 'in-progress', ...fields }, { url })
    const call = calls?.readCall(callback)
    return call && { call, screen: calls?.answerCall(call, said, callback) }
  }
  const hangsUp = '<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>'

  test('after a key, the digits come slowly and twice', () => {
    const { call, screen } = say({ Digits: '1' }, speech) ?? {}
    expect(call).toEqual({
      providerMessageId: callSid,
      keyPressed: true,
      waits: true,
      receipts: [
        {
          status: 'answered',
          rawStatus: 'key-pressed',
          eventKey: `${callSid}:key-pressed`,
          providerMessageId: callSid,
        },
      ],
    })
    const said =
      '<Say voice="Polly.Joanna" language="en-US"><prosody rate="slow">Your &lt;Acme&gt; code is 4, 8, 2, 9, 1, 3. It ends in 5 minutes.</prosody></Say>'
    expect(screen).toEqual({
      contentType: 'text/xml',
      body: `<?xml version="1.0" encoding="UTF-8"?><Response>${said}<Pause length="1"/>${said}<Hangup/></Response>`,
    })
  })

  test('without a key, and when there is nothing to say any more, it ends', () => {
    const without = say({}, speech)
    expect(without?.call).toMatchObject({ keyPressed: false, waits: false, receipts: [] })
    expect(without?.screen?.body).toBe(hangsUp)
    expect(say({ Digits: '' }, speech)?.screen?.body).toBe(hangsUp)
    expect(say({ Digits: '1' }, undefined)?.screen?.body).toBe(hangsUp)
  })
})

describe('replies', () => {
  const url = 'https://otp.example.com/webhooks/twilio/inbound'
  const read = (fields: Fields) => ours.inbound?.readInbound(form(fields, { url }))
  test.each<[Fields, { from: string; text: string } | undefined]>([
    [
      { From: '+233241234567', Body: 'STOP' },
      { from: '+233241234567', text: 'STOP' },
    ],
    [
      { From: 'whatsapp:+233241234567', Body: 'Hi' },
      { from: '+233241234567', text: 'Hi' },
    ],
    [
      { From: '+233241234567', Body: 'ARRET', OptOutType: 'STOP' },
      { from: '+233241234567', text: 'STOP' },
    ],
    [
      { From: '+233241234567', Body: '' },
      { from: '+233241234567', text: '' },
    ],
    [{ From: 'Acme', Body: 'STOP' }, undefined],
    [{ From: '+233241234567' }, undefined],
    [{ Body: 'STOP' }, undefined],
  ])('%j', (fields, expected) => {
    const message = read({ MessageSid: messageSid, To: '+14155550100', ...fields })
    if (expected) expect(message).toMatchObject({ ...expected, id: messageSid })
    else expect(message).toBeUndefined()
  })
})
