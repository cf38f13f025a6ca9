import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Channel } from '../../core/channel'
import { accountsLeftOut, createProviders, settingsFaults } from '../../providers'
import type { Variables } from '../../providers/adapter'
import type { InboundCallback, Message } from '../../providers/provider'
import { adapterRig, inTime, outcomeOf, type Said, testMessage } from '../harness/adapter-rig'
import { startRecorder } from '../harness/recorder'

const config = {
  name: 'arkesel',
  adapter: 'arkesel',
  channels: ['sms', 'voice', 'ussd'] as Channel[],
  test: false,
}
const variables: Variables = {
  ARKESEL_API_KEY: 'key-of-the-test',
  ARKESEL_SENDER: 'Acme',
  ARKESEL_USSD_CODE: '*928*77#',
  ARKESEL_CALLBACK_SECRET: 'kQ3_8bG-ZxT1mVw7YpR4sN',
  ARKESEL_ALLOWED_IPS: '192.0.2.0/24,2001:db8::1',
}
const taken = { status: 'success', data: [{ recipient: '233241234567', id: 'ark-1' }] }

let rig: Awaited<ReturnType<typeof adapterRig>>
beforeAll(async () => {
  rig = await adapterRig(config, variables)
})
afterAll(() => rig.close())

describe('an SMS', () => {
  const sendWith = (said: Said, given: Partial<Message> = {}, more: Variables = {}) => {
    rig.answer(said)
    return outcomeOf(rig.accountWith(more).sender.send({ ...testMessage, ...given }, inTime()))
  }

  test('goes out as API v2 has it', async () => {
    expect(await sendWith({ body: taken })).toEqual({ sent: { providerMessageId: 'ark-1' } })
    expect(rig.calls).toHaveLength(1)
    const [call] = rig.calls
    if (!call) throw new Error('no call')
    const { method, url, headers, body } = call
    expect({ method, url }).toEqual({ method: 'POST', url: '/api/v2/sms/send' })
    expect(headers).toMatchObject({ 'api-key': 'key-of-the-test' })
    expect(headers['content-type']).toBe('application/json')
    expect(headers['authorization']).toBeUndefined()
    expect(JSON.parse(body)).toEqual({
      sender: 'Acme',
      message: 'Your Acme code is 482913.',
      recipients: ['233241234567'],
      callback_url: 'https://otp.example.com/webhooks/provider/token',
    })
  })

  test('says what it is for in Nigeria, and that it is a trial where the account is one', async () => {
    await sendWith({ body: taken }, { to: '+2348031234567' }, { ARKESEL_SANDBOX: 'true' })
    expect(JSON.parse(rig.calls[0]?.body ?? '')).toMatchObject({
      recipients: ['2348031234567'],
      use_case: 'transactional',
      sandbox: true,
    })
  })

  test.each<[string, Said, object]>([
    ['a number for an id', { body: { data: [{ id: 71 }] } }, { sent: { providerMessageId: '71' } }],
    ['no JSON', { body: '<html>' }, { sent: { providerMessageId: 'att_1' } }],
    ['nothing', {}, { sent: { providerMessageId: 'att_1' } }],
    ['null', { body: 'null' }, { sent: { providerMessageId: 'att_1' } }],
    ['other data', { body: { data: 'x' } }, { sent: { providerMessageId: 'att_1' } }],
    [
      'only invalid numbers',
      { body: { status: 'success', data: [{ 'invalid numbers': ['233241234567'] }] } },
      { fault: 'invalid_number' },
    ],
    [
      'invalid numbers of others, and our id',
      { body: { data: [{ 'invalid numbers': ['1'] }, { recipient: '233241234567', id: 'a' }] } },
      { sent: { providerMessageId: 'a' } },
    ],
    ['an error with 200', { body: { status: 'error', message: 'No' } }, { fault: 'unroutable' }],
    ['402', { status: 402, body: { status: 'error' } }, { fault: 'config' }],
    ['403', { status: 403, body: { status: 'error' } }, { fault: 'config' }],
    ['401', { status: 401 }, { fault: 'config' }],
    ['422', { status: 422, body: { message: 'invalid' } }, { fault: 'config' }],
    ['422 without JSON', { status: 422, body: '<html>' }, { fault: 'config' }],
    [
      '422 for the sender',
      { status: 422, body: { errors: { sender: ['x'], message: ['y'] } } },
      { fault: 'config' },
    ],
    [
      '422 for the number',
      { status: 422, body: { errors: { 'recipients.0': ['is invalid'] } } },
      { fault: 'invalid_number' },
    ],
    [
      '422 for the text, which an app chose',
      { status: 422, body: { errors: { message: ['is too long'] } } },
      { fault: 'unroutable' },
    ],
    ['429', { status: 429 }, { fault: 'throttled' }],
    ['500', { status: 500 }, { fault: 'unavailable' }],
    ['502', { status: 502 }, { fault: 'in_doubt' }],
  ])('answered with %s', async (_title, said, outcome) => {
    const seen = await sendWith(said)
    expect(seen).toMatchObject(outcome)
    expect(JSON.stringify(seen)).not.toMatch(/233241234567|482913|key-of-the-test/)
  })
})

describe('reports', () => {
  const rows: [string, string][] = [
    ['QUEUED', 'accepted'],
    ['SUBMITTED', 'sent'],
    ['DELIVERED', 'delivered'],
    ['NOT_DELIVERED', 'failed.retryable'],
    ['PROHIBITED', 'failed.permanent'],
    ['EXPIRED', 'expired'],
    ['BUFFERED_ON_MARS', 'unknown'],
  ]
  const url = 'https://otp.example.com/webhooks/arkesel/token'
  const read = (callback: Partial<InboundCallback>) =>
    rig
      .accountWith()
      .receipts?.readReceipts({ headers: {}, body: Buffer.alloc(0), url, ...callback })

  test.each(rows)('%s means %s, called back or asked for', async (word, status) => {
    const receipt = {
      status,
      rawStatus: word,
      eventKey: `ark-1:${word}`,
      providerMessageId: 'ark-1',
    }
    expect(read({ method: 'GET', url: `${url}?sms_id=ark-1&status=${word}` })).toEqual([receipt])
    rig.answer({ body: { status: 'success', data: { 'ark-1': { status: word } } } })
    const asked = [{ attemptId: 'att_1', providerMessageId: 'ark-1' }]
    expect(await rig.accountWith().poller?.pollReceipts(asked, inTime())).toEqual([
      { ...receipt, attemptId: 'att_1' },
    ])
  })

  test.each<[string, Partial<InboundCallback>]>([
    ['a form', { body: Buffer.from('sms_id=ark-1&status=DELIVERED') }],
    ['JSON', { body: Buffer.from('{"sms_id":"ark-1","status":"DELIVERED"}') }],
    [
      'a query beside a form',
      { url: `${url}?sms_id=ark-1`, body: Buffer.from('status=DELIVERED') },
    ],
    ['another way of writing', { url: `${url}?sms_id=ark-1&status=Delivered` }],
  ])('come as %s too', (_title, callback) => {
    expect(read(callback)).toMatchObject([{ status: 'delivered', eventKey: 'ark-1:DELIVERED' }])
  })

  test.each<[string, Partial<InboundCallback>]>([
    ['nothing', {}],
    ['no id', { url: `${url}?status=DELIVERED` }],
    ['no status', { url: `${url}?sms_id=1` }],
    ['a number for a status', { url: `${url}?sms_id=1&status=%2B233241234567` }],
    ['an id with a blank', { url: `${url}?sms_id=a%20b&status=DELIVERED` }],
    ['bytes', { body: Buffer.from([0xff, 0x00, 0xfe]) }],
    ['a list', { body: Buffer.from('[1]') }],
  ])('%s reports nothing', (_title, callback) => expect(read(callback)).toEqual([]))

  test('a callback alone is not believed: nothing signs it', () => {
    expect(rig.accountWith().receipts?.unsigned).toBe(true)
  })

  test('are asked for by the ids that Arkesel gave, all at once', async () => {
    rig.answer({
      body: {
        data: {
          'ark-1': { status: 'DELIVERED', recipient: '233241234567', message: 'Your code' },
          'ark-2': { status: 'error', response: 'message does not exist' },
          'ark-4': 'nonsense',
        },
      },
    })
    const asked = ['ark-1', 'ark-2', 'ark-3', 'ark-4'].map((providerMessageId, index) => ({
      attemptId: `att_${index}`,
      providerMessageId,
    }))
    const unnamed = { attemptId: 'att_9', providerMessageId: 'att_9' }
    const receipts = await rig.accountWith().poller?.pollReceipts([...asked, unnamed], inTime())
    expect(receipts).toMatchObject([{ attemptId: 'att_0', status: 'delivered' }])
    expect(receipts).toHaveLength(1)
    expect(rig.calls.map(({ url }) => url)).toEqual(['/api/v2/sms/message-reports'])
    expect(JSON.parse(rig.calls[0]?.body ?? '')).toEqual({
      msg_ids: ['ark-1', 'ark-2', 'ark-3', 'ark-4'],
    })
    rig.answer({ body: { data: [{ id: 'ark-1', status: 'EXPIRED' }, 7] } })
    expect(await rig.accountWith().poller?.pollReceipts(asked, inTime())).toMatchObject([
      { attemptId: 'att_0', status: 'expired' },
    ])
    rig.answer({ body: 'null' })
    expect(await rig.accountWith().poller?.pollReceipts(asked, inTime())).toEqual([])
    expect(await rig.accountWith().poller?.pollReceipts([unnamed], inTime())).toEqual([])
    expect(rig.calls).toHaveLength(1)
    rig.answer({ status: 500 })
    expect(
      await outcomeOf(rig.accountWith().poller?.pollReceipts(asked, inTime()) ?? Promise.resolve()),
    ).toMatchObject({ fault: 'unavailable' })
  })

  test('of a hundred messages are read, with all their texts', async () => {
    const ids = Array.from({ length: 100 }, (_, index) => `ark-${index}`)
    const message = '\\u0631'.repeat(200)
    const reports = ids.map((id) => `"${id}":{"status":"DELIVERED","message":"${message}"}`)
    rig.answer({ body: `{"status":"success","data":{${reports.join()}}}` })
    const asked = ids.map((id) => ({ attemptId: `att_${id}`, providerMessageId: id }))
    expect(await rig.accountWith().poller?.pollReceipts(asked, inTime())).toHaveLength(100)
  })

  test('are asked for one by one where nobody knows the question about many', async () => {
    const service = await startRecorder()
    service.answerWith(({ url }) => {
      const data = { ID: 'ark-2', status: 'DELIVERED', sender: 'Acme', recipient: '233241234567' }
      return url === '/api/v2/sms/ark-2'
        ? { body: JSON.stringify({ status: 'success', data }) }
        : { status: 404, body: '<html>' }
    })
    const ids = ['ark-1', 'ark-2', 'a/b']
    const asked = ids.map((id) => ({ attemptId: `att_${id}`, providerMessageId: id }))
    const { poller } = rig.accountWith({ ARKESEL_BASE_URL: service.url })
    expect(await poller?.pollReceipts(asked, inTime())).toMatchObject([
      { attemptId: 'att_ark-2', providerMessageId: 'ark-2', status: 'delivered' },
    ])
    expect(service.calls.map(({ url }) => url)).toEqual([
      ...['/api/v2/sms/message-reports', '/api/v2/sms/ark-1', '/api/v2/sms/ark-2'],
      '/api/v2/sms/a%2Fb',
    ])
    await service.close()
  })

  test('the balance shows whether the account works', async () => {
    rig.answer({ body: { status: 'success', data: { main_balance: 1 } } })
    await rig.accountWith().pinger?.ping(inTime())
    expect(rig.calls[0]).toMatchObject({
      method: 'GET',
      url: '/api/v2/clients/balance-details',
      headers: { 'api-key': 'key-of-the-test' },
    })
    rig.answer({ status: 403 })
    await expect(rig.accountWith().pinger?.ping(inTime())).rejects.toMatchObject({
      fault: 'config',
    })
  })
})

describe('settings', () => {
  const faultsOf = (more: Variables) =>
    settingsFaults([config], { ...variables, ...more }, { isProduction: true })

  test('USSD needs its secret and the addresses that it is called from', () => {
    const { ARKESEL_CALLBACK_SECRET, ARKESEL_ALLOWED_IPS, ...rest } = variables
    expect(accountsLeftOut([config], { ...rest, ARKESEL_CALLBACK_SECRET })).toMatchObject([
      { reason: 'Provider account "arkesel" is off: ARKESEL_ALLOWED_IPS is not set.', begun: true },
    ])
    expect(accountsLeftOut([config], { ...rest, ARKESEL_ALLOWED_IPS })).toMatchObject([
      { reason: expect.stringContaining('ARKESEL_CALLBACK_SECRET is not set') },
    ])
    const { ARKESEL_USSD_CODE: _code, ...smsOnly } = rest
    expect(createProviders([config], smsOnly).get('arkesel')).toMatchObject({ channels: ['sms'] })
  })

  test.each<[Variables, string]>([
    [{ ARKESEL_SENDER: 'Twelve chars' }, 'ARKESEL_SENDER: '],
    [{ ARKESEL_CALLBACK_SECRET: 'short' }, 'ARKESEL_CALLBACK_SECRET: '],
    [{ ARKESEL_CALLBACK_SECRET: 'with/a/slash/in/the/path/of' }, 'ARKESEL_CALLBACK_SECRET: '],
    [{ ARKESEL_ALLOWED_IPS: '192.0.2.0/33' }, 'ARKESEL_ALLOWED_IPS: '],
    [{ ARKESEL_ALLOWED_IPS: '10.1' }, 'ARKESEL_ALLOWED_IPS: '],
    [{ ARKESEL_ALLOWED_IPS: 'arkesel.com' }, 'ARKESEL_ALLOWED_IPS: '],
    [{ ARKESEL_USSD_CODE: '928' }, 'ARKESEL_USSD_CODE: '],
    [{ ARKESEL_SANDBOX: 'yes' }, 'ARKESEL_SANDBOX: '],
    [{ ARKESEL_BASE_URL: 'http://sms.example.com' }, 'ARKESEL_BASE_URL: '],
  ])('%j is refused', (more, name) => {
    expect(faultsOf(more)).toEqual([expect.stringContaining(name)])
  })
})
