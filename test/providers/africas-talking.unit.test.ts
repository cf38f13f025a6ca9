import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Agent } from 'undici'
import {
  accountsLeftOut,
  createProviders,
  settingsFaults,
  type AccountConfig,
} from '../../providers'
import type { Variables } from '../../providers/adapter'
import { ForgedCallback, type InboundCallback, type Message } from '../../providers/provider'
import {
  adapterRig,
  flipped,
  inTime,
  outcomeOf,
  type Said,
  testMessage,
} from '../harness/adapter-rig'

const config: AccountConfig = {
  name: 'africas-talking',
  adapter: 'africas-talking',
  channels: ['sms', 'voice', 'ussd'],
  test: false,
}
const secret = 'kQ3_8bG-ZxT1mVw7YpR4sN'
const otherSecret = 'uD9-aLf2_EjH5oCq0WiX6t'
const variables: Variables = {
  AFRICAS_TALKING_USERNAME: 'acme',
  AFRICAS_TALKING_API_KEY: 'key-of-the-test',
  AFRICAS_TALKING_VOICE_NUMBER: '+254711082000',
  AFRICAS_TALKING_USSD_CODE: '*384*77#',
  AFRICAS_TALKING_CALLBACK_SECRET: secret,
  AFRICAS_TALKING_ALLOWED_IPS: '192.0.2.0/24',
}

let rig: Awaited<ReturnType<typeof adapterRig>>
beforeAll(async () => {
  rig = await adapterRig(config, variables)
})
afterAll(() => rig.close())

const sendWith = (said: Said, given: Partial<Message> = {}, more: Variables = {}) => {
  rig.answer(said)
  const message = { ...testMessage, to: '+254711123456', ...given }
  return outcomeOf(rig.accountWith(more).sender.send(message, inTime()))
}
const fieldsOf = (body: string | undefined) => Object.fromEntries(new URLSearchParams(body))
const callbackOf = (
  fields: Record<string, string> | string,
  given: Partial<InboundCallback> = {},
): InboundCallback => ({
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: Buffer.from(typeof fields === 'string' ? fields : new URLSearchParams(fields).toString()),
  url: `https://otp.example.com/webhooks/africas-talking/secret/${secret}`,
  pathSecret: secret,
  clientIp: '192.0.2.7',
  ...given,
})

describe('an SMS', () => {
  const recipient = {
    statusCode: 101,
    number: '+254711123456',
    status: 'Success',
    cost: 'KES 0.8000',
    messageId: 'ATXid_1',
  }
  const answered = (...recipients: unknown[]): Said => ({
    status: 201,
    body: { SMSMessageData: { Message: 'Sent to 1/1', Recipients: recipients } },
  })

  test('goes out as the messaging API has it', async () => {
    expect(await sendWith(answered(recipient))).toEqual({
      sent: { providerMessageId: 'ATXid_1', cost: { amount: '0.8000', currency: 'KES' } },
    })
    const [call] = rig.calls
    if (!call) throw new Error('no call')
    const { method, url, headers, body } = call
    expect({ method, url }).toEqual({ method: 'POST', url: '/version1/messaging' })
    expect(headers).toMatchObject({
      apikey: 'key-of-the-test',
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect(fieldsOf(body)).toEqual({
      username: 'acme',
      to: '+254711123456',
      message: 'Your Acme code is 482913.',
      bulkSMSMode: '1',
    })
    await sendWith(answered(recipient), {}, { AFRICAS_TALKING_SENDER: 'ACME' })
    expect(fieldsOf(rig.calls[0]?.body)).toMatchObject({ from: 'ACME' })
  })

  test.each([100, 101, 102, '101'])('code %j is an acceptance', async (statusCode) => {
    expect(await sendWith(answered({ ...recipient, statusCode }))).toMatchObject({
      sent: { providerMessageId: 'ATXid_1' },
    })
  })

  const refusals: [number, string, string][] = [
    [401, 'RiskHold', 'unroutable'],
    [402, 'InvalidSenderId', 'config'],
    [403, 'InvalidPhoneNumber', 'invalid_number'],
    [404, 'UnsupportedNumberType', 'invalid_number'],
    [405, 'InsufficientBalance', 'config'],
    [406, 'UserInBlacklist', 'blocked'],
    [407, 'CouldNotRoute', 'unroutable'],
    [409, 'DoNotDisturbRejection', 'blocked'],
    [500, 'InternalServerError', 'unavailable'],
    [501, 'GatewayError', 'unavailable'],
    [502, 'RejectedByGateway', 'unavailable'],
    [499, 'EatenByLions', 'unroutable'],
  ]
  test.each(refusals)('code %i (%s) is %s', async (statusCode, status, fault) => {
    const refused = { ...recipient, statusCode, status, cost: '0', messageId: 'None' }
    const outcome = await sendWith(answered(refused))
    expect(outcome).toMatchObject({ fault })
    expect(JSON.stringify(outcome)).not.toMatch(/254711123456|482913|key-of-the-test/)
    // The same word in the place of all recipients.
    const body = { SMSMessageData: { Message: status, Recipients: [] } }
    expect(await sendWith({ status: 201, body })).toMatchObject({ fault })
  })

  test.each<[string, Said, object]>([
    ['garbage', { status: 201, body: '<html>' }, { sent: { providerMessageId: 'att_1' } }],
    ['nothing', { status: 201 }, { sent: { providerMessageId: 'att_1' } }],
    ['null', { status: 201, body: 'null' }, { sent: { providerMessageId: 'att_1' } }],
    [
      'no id',
      answered({ ...recipient, messageId: 'None', cost: 'free' }),
      { sent: { providerMessageId: 'att_1', cost: undefined } },
    ],
    ['a recipient of another kind', answered(7), { sent: { providerMessageId: 'att_1' } }],
    ['400', { status: 400, body: 'Bad request' }, { fault: 'config' }],
    ['401', { status: 401, body: 'The supplied authentication is invalid' }, { fault: 'config' }],
    ['429', { status: 429 }, { fault: 'throttled' }],
    ['500', { status: 500 }, { fault: 'unavailable' }],
    ['504', { status: 504 }, { fault: 'in_doubt' }],
  ])('answered with %s', async (_title, said, outcome) => {
    expect(await sendWith(said)).toMatchObject(outcome)
  })

  test('of the sandbox app goes to hosts of its own', async () => {
    const asked: string[] = []
    const agent = new Agent({
      connect: ({ protocol, hostname }, done) => {
        asked.push(`${protocol}//${hostname}`)
        done(new Error('no network'), null)
      },
    })
    for (const username of ['acme', 'sandbox']) {
      const all = { ...variables, AFRICAS_TALKING_USERNAME: username }
      const providers = createProviders([config], all, agent)
      for (const channel of ['sms', 'voice'] as const)
        await outcomeOf(
          providers.get('africas-talking')?.sender.send({ ...testMessage, channel }, inTime()) ??
            Promise.resolve(),
        )
    }
    expect(asked).toEqual([
      'https://api.africastalking.com',
      'https://voice.africastalking.com',
      'https://api.sandbox.africastalking.com',
      'https://voice.sandbox.africastalking.com',
    ])
    await agent.destroy()
  })

  test('the user’s balance shows whether the account works', async () => {
    rig.answer({ body: { UserData: { balance: 'KES 1.00' } } })
    await rig.accountWith().pinger?.ping(inTime())
    expect(rig.calls[0]).toMatchObject({
      method: 'GET',
      url: '/version1/user?username=acme',
      headers: { apikey: 'key-of-the-test', accept: 'application/json' },
    })
    rig.answer({ status: 401 })
    await expect(rig.accountWith().pinger?.ping(inTime())).rejects.toMatchObject({
      fault: 'config',
    })
  })
})

describe('delivery reports', () => {
  const read = (...given: Parameters<typeof callbackOf>) =>
    rig.accountWith().receipts?.readReceipts(callbackOf(...given))
  const report = { id: 'ATXid_1', phoneNumber: '+254711123456', networkCode: '63902' }

  test.each<[string, string | undefined, string]>([
    ['Sent', undefined, 'sent'],
    ['Submitted', undefined, 'sent'],
    ['Buffered', undefined, 'sent'],
    ['Success', undefined, 'delivered'],
    ['Expired', undefined, 'expired'],
    ['Failed', undefined, 'failed.retryable'],
    ['Failed', 'UserInBlackList', 'failed.permanent'],
    ['Failed', 'UserDoesNotExist', 'failed.permanent'],
    ['Failed', 'UserIsInactive', 'failed.permanent'],
    ['Failed', 'UserAccountSuspended', 'failed.permanent'],
    ['Rejected', 'NotNetworkSubscriber', 'failed.permanent'],
    ['Failed', 'AbsentSubscriber', 'failed.retryable'],
    ['Failed', 'UserMemoryCapacityExceeded', 'failed.retryable'],
    ['Rejected', 'DeliveryFailure', 'failed.retryable'],
    ['Failed', 'InsufficientCredit', 'failed.permanent'],
    ['Failed', 'InvalidLinkId', 'failed.config'],
    ['Failed', 'UserNotSubscribedToProduct', 'failed.permanent'],
    ['Rejected', 'TooManyElephants', 'failed.retryable'],
    ['Teleported', undefined, 'unknown'],
  ])('%s (%s) means %s', (status, failureReason, meaning) => {
    const fields = { ...report, status, ...(failureReason && { failureReason }) }
    expect(read(fields)).toMatchObject([
      { status: meaning, eventKey: `ATXid_1:${status}`, providerMessageId: 'ATXid_1' },
    ])
    expect(JSON.stringify(read(fields))).not.toContain('254711123456')
  })

  test.each<[Record<string, string> | string]>([
    ['not a form'],
    [''],
    [{ ...report }],
    [{ ...report, id: '', status: 'Success' }],
    [{ ...report, status: '+254711123456' }],
  ])('%j reports nothing', (fields) => expect(read(fields)).toEqual([]))

  test.each<[string, Partial<InboundCallback>]>([
    ['no secret', { pathSecret: undefined }],
    ['a secret that is wrong by one bit', { pathSecret: flipped(secret) }],
    ['another address', { clientIp: '198.51.100.7' }],
  ])('forged: %s', (_title, given) => {
    const { receipts, calls, ussd } = rig.accountWith()
    const forged = callbackOf({ ...report, status: 'Success' }, given)
    expect(() => receipts?.readReceipts(forged)).toThrow(ForgedCallback)
    expect(() => calls?.readCall(forged)).toThrow(ForgedCallback)
    expect(() => ussd?.readDial(forged)).toThrow(ForgedCallback)
  })

  test('are good with both secrets while one replaces the other', () => {
    const both = { AFRICAS_TALKING_CALLBACK_SECRET: `${otherSecret} ${secret}` }
    const { receipts } = rig.accountWith(both)
    for (const pathSecret of [secret, otherSecret])
      expect(
        receipts?.readReceipts(callbackOf({ ...report, status: 'Success' }, { pathSecret })),
      ).toHaveLength(1)
  })
})

describe('settings', () => {
  test('calls and USSD need the addresses that they are answered to', () => {
    const { AFRICAS_TALKING_ALLOWED_IPS: _ips, ...open } = variables
    expect(accountsLeftOut([config], open)).toMatchObject([
      {
        reason:
          'Provider account "africas-talking" is off: AFRICAS_TALKING_ALLOWED_IPS is not set.',
      },
    ])
    const smsOnly = {
      ...open,
      AFRICAS_TALKING_VOICE_NUMBER: '',
      AFRICAS_TALKING_USSD_CODE: '',
    }
    const account = createProviders([config], smsOnly).get('africas-talking')
    expect(account).toMatchObject({ channels: ['sms'] })
    expect([account?.calls, account?.ussd]).toEqual([undefined, undefined])
  })

  test('text messages need no secret; without one, no report is believed', () => {
    const account = createProviders([config], {
      AFRICAS_TALKING_USERNAME: 'acme',
      AFRICAS_TALKING_API_KEY: 'key-of-the-test',
    }).get('africas-talking')
    expect(account).toMatchObject({ channels: ['sms'] })
    for (const pathSecret of [undefined, '', secret])
      expect(() =>
        account?.receipts?.readReceipts(callbackOf({ id: '1', status: 'Success' }, { pathSecret })),
      ).toThrow(ForgedCallback)
    const { AFRICAS_TALKING_CALLBACK_SECRET: _secret, ...open } = variables
    expect(accountsLeftOut([config], open)).toMatchObject([
      { reason: expect.stringContaining('AFRICAS_TALKING_CALLBACK_SECRET is not set') },
    ])
  })

  test.each<[string, string]>([
    ['VOICE_NUMBER', '0711082000'],
    ['USSD_CODE', '*384*77'],
    ['CALLBACK_SECRET', 'short'],
    ['ALLOWED_IPS', 'everybody'],
    ['BASE_URL', 'ftp://api.example.com'],
    ['BASE_URL', 'http://api.example.com'],
  ])('%s = %s is refused', (name, value) => {
    const given = { ...variables, [`AFRICAS_TALKING_${name}`]: value }
    expect(settingsFaults([config], given, { isProduction: true })).toEqual([
      expect.stringContaining(`AFRICAS_TALKING_${name}: `),
    ])
  })
})
