import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Variables } from '../../providers/adapter'
import type { Message } from '../../providers/provider'
import { accountAt, message, soon } from '../harness/infobip'
import { startRecorder } from '../harness/recorder'

let service: Awaited<ReturnType<typeof startRecorder>>
beforeAll(async () => {
  service = await startRecorder()
})
afterAll(() => service.close())

const answerJson = (body: unknown, status = 200) =>
  service.answerWith(() => ({ status, body: JSON.stringify(body) }))

describe('what is sent', () => {
  const sent = async (more: Partial<Message>, settings?: Variables) => {
    answerJson({})
    await accountAt(service.url, settings).sender.send({ ...message, ...more }, soon())
    const [call] = service.calls
    expect(service.calls).toHaveLength(1)
    expect(call?.headers).toMatchObject({
      authorization: 'App an-api-key',
      'content-type': 'application/json',
    })
    return { method: call?.method, url: call?.url, body: JSON.parse(call?.body ?? '') as unknown }
  }

  test('a text', async () => {
    expect(await sent({})).toEqual({
      method: 'POST',
      url: '/sms/3/messages',
      body: {
        messages: [
          {
            sender: 'Acme',
            destinations: [{ to: '233241234567', messageId: 'att_1' }],
            content: { text: 'Your code is 482913' },
            options: { validityPeriod: { amount: 290, timeUnit: 'SECONDS' } },
            webhooks: {
              delivery: { url: message.callbackUrl, intermediateReport: false },
              contentType: 'application/json',
              callbackData: 'sms:att_1',
            },
          },
        ],
        options: {
          conversionTracking: {
            useConversionTracking: true,
            conversionTrackingName: 'ONE_TIME_PIN',
          },
        },
      },
    })
  })

  test('a sender that is a number, without its plus', async () => {
    expect(await sent({}, { INFOBIP_SMS_FROM: '+447700900011' })).toMatchObject({
      body: { messages: [{ sender: '447700900011' }] },
    })
  })

  test('a call, which Infobip never repeats by itself', async () => {
    const spoken = { channel: 'voice' as const, text: 'Your code is 4 8 2' }
    const call = {
      from: '447700900011',
      destinations: [{ to: '233241234567', messageId: 'att_1' }],
      text: 'Your code is 4 8 2 Your code is 4 8 2',
      language: 'fr',
      speechRate: 0.8,
      pause: 1,
      repeatDtmf: '1',
      ringTimeout: 45,
      machineDetection: 'hangup',
      validityPeriod: 5,
      notifyUrl: message.callbackUrl,
      notifyContentType: 'application/json',
      notifyContentVersion: 2,
      callbackData: 'voice:att_1',
    }
    expect(await sent(spoken)).toEqual({
      method: 'POST',
      url: '/tts/3/advanced',
      body: { messages: [call] },
    })
    const { machineDetection: _, ...plain } = call
    expect(await sent(spoken, { INFOBIP_VOICE_MACHINES: 'ignore' })).toMatchObject({
      body: { messages: [plain] },
    })
  })

  test('a long text is spoken once', async () => {
    const text = 'a'.repeat(701)
    expect(await sent({ channel: 'voice', text })).toMatchObject({ body: { messages: [{ text }] } })
  })

  test('a WhatsApp template', async () => {
    expect(await sent({ channel: 'whatsapp' })).toEqual({
      method: 'POST',
      url: '/whatsapp/1/message/template',
      body: {
        messages: [
          {
            from: '447700900012',
            to: '233241234567',
            messageId: 'att_1',
            content: {
              templateName: 'otp_code',
              templateData: {
                body: { placeholders: ['482913'] },
                buttons: [{ type: 'URL', parameter: '482913' }],
              },
              language: 'fr',
            },
            callbackData: 'whatsapp:att_1',
            notifyUrl: message.callbackUrl,
          },
        ],
      },
    })
  })

  test('a repetition has the id of the first', async () => {
    const { body } = await sent({ repeats: 'att_0' })
    expect(body).toMatchObject({
      messages: [
        { destinations: [{ messageId: 'att_0' }], webhooks: { callbackData: 'sms:att_1' } },
      ],
    })
  })

  test('no address where a subscription takes the reports', async () => {
    const secret = 's'.repeat(22)
    for (const more of [
      { INFOBIP_CALLBACK_USER: 'otpilot', INFOBIP_CALLBACK_PASSWORD: 'a-password' },
      { INFOBIP_CALLBACK_SECRET: secret },
    ]) {
      for (const channel of ['sms', 'voice', 'whatsapp'] as const)
        expect(JSON.stringify((await sent({ channel }, more)).body)).not.toContain('token')
    }
  })
})

describe('reports that are asked for', () => {
  const asked = (channel: Message['channel'], ...ids: string[]) =>
    ids.map((id) => ({ attemptId: id, providerMessageId: id, channel }))
  const poll = (messages: ReturnType<typeof asked>) =>
    accountAt(service.url).poller?.pollReceipts(messages, soon())
  const delivered = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }
  const price = { pricePerMessage: 0.05, currency: 'EUR' }

  test('of each channel at its own logs, fifty messages at a time', async () => {
    answerJson({ results: [] })
    const ids = Array.from({ length: 120 }, (_, n) => `att_${n}`)
    const messages = [
      ...asked('sms', ...ids),
      ...asked('voice', 'att_v'),
      ...asked('whatsapp', 'w'),
    ]
    expect(await poll(messages)).toEqual([])
    const urls = service.calls.map(({ url = '' }) => url)
    expect(urls.map((url) => url.split('?')[0] ?? '').toSorted()).toEqual([
      ...['/sms/3/logs', '/sms/3/logs', '/sms/3/logs', '/tts/3/logs', '/whatsapp/2/logs'],
    ])
    for (const url of urls) expect(url.length).toBeLessThan(2_048)
    expect(urls.flatMap((url) => url.split('=')[1]?.split(',') ?? []).toSorted()).toEqual(
      [...ids, 'att_v', 'w'].toSorted(),
    )
  })

  test('a price only of what has come to its end; nothing of what was not asked', async () => {
    const log = (messageId: string, status: object) => ({
      messageId,
      status,
      price,
      messageCount: 1,
    })
    answerJson({
      results: [
        log('att_1', delivered),
        log('att_2', { groupId: 1, name: 'PENDING_ENROUTE' }),
        log('att_3', delivered),
      ],
    })
    expect(await poll(asked('sms', 'att_1', 'att_2'))).toMatchObject([
      { providerMessageId: 'att_1', status: 'delivered', cost: { amount: '0.050000' } },
      { providerMessageId: 'att_2', status: 'sent', cost: undefined },
    ])
  })

  test('a call by its logs, which tell its seconds beside it', async () => {
    const status = { groupId: 3, name: 'DELIVERED_TO_HANDSET' }
    const perSecond = { pricePerSecond: 0.002, currency: 'EUR' }
    answerJson({ results: [{ messageId: 'att_1', status, price: perSecond, duration: 12 }] })
    expect(await poll(asked('voice', 'att_1'))).toMatchObject([
      { status: 'answered', cost: { amount: '0.024000', currency: 'EUR' } },
    ])
  })

  test('one channel whose logs are not open keeps none from the others', async () => {
    service.answerWith(({ url = '' }) =>
      url.startsWith('/sms')
        ? { body: JSON.stringify({ results: [{ messageId: 'att_1', status: delivered }] }) }
        : { status: url.startsWith('/tts') ? 403 : 404 },
    )
    const messages = [
      ...asked('voice', 'att_v'),
      ...asked('whatsapp', 'att_w'),
      ...asked('sms', 'att_1'),
    ]
    expect(await poll(messages)).toMatchObject([{ providerMessageId: 'att_1' }])
    await expect(poll(asked('voice', 'att_v'))).rejects.toMatchObject({ fault: 'config' })
  })

  test('nobody is asked where a subscription reports by itself', () => {
    const subscribed = accountAt(service.url, { INFOBIP_CALLBACK_SECRET: 's'.repeat(22) })
    expect(subscribed.poller).toBeUndefined()
  })
})

describe('what else is asked', () => {
  const doubt = { attemptId: 'att_1', to: '+233241234567', claimedAt: new Date() }
  const taken = {
    messageId: 'att_1',
    status: { groupId: 1, name: 'PENDING_ACCEPTED' },
    price: { pricePerMessage: 0.05, currency: 'EUR' },
  }
  const reconcile = (channel: Message['channel'] = 'sms') =>
    accountAt(service.url).reconciler?.reconcile({ ...doubt, channel }, soon())

  test.each([
    ['sms' as const, '/sms/3/logs?messageId=att_1'],
    ['voice' as const, '/tts/3/logs?messageId=att_1'],
  ])('the logs, about a doubt (%s)', async (channel, url) => {
    answerJson({ results: [{ ...taken, messageId: 'att_0' }, taken] })
    expect(await reconcile(channel)).toMatchObject({ providerMessageId: 'att_1' })
    expect(service.calls).toMatchObject([{ method: 'GET', url, body: '' }])
  })

  test.each<[string, unknown]>([
    ['nothing', { results: [] }],
    ['another message', { results: [{ ...taken, messageId: 'att_0' }] }],
    ['a rejection', { results: [{ ...taken, status: { groupId: 5, name: 'REJECTED_SENDER' } }] }],
    ['no list', {}],
  ])('a log with %s settles nothing', async (_title, body) => {
    answerJson(body)
    expect(await reconcile()).toBeUndefined()
  })

  test('WhatsApp has no logs to ask; a log that cannot be asked is a fault', async () => {
    answerJson({}, 503)
    expect(await reconcile('whatsapp')).toBeUndefined()
    expect(service.calls).toEqual([])
    await expect(reconcile()).rejects.toMatchObject({ fault: 'unavailable' })
  })

  test('the balance, whether the account works', async () => {
    answerJson({ balance: 1, currency: 'EUR' })
    await accountAt(service.url).pinger?.ping(soon())
    expect(service.calls).toMatchObject([{ method: 'GET', url: '/account/1/balance' }])
    answerJson({}, 401)
    await expect(accountAt(service.url).pinger?.ping(soon())).rejects.toMatchObject({
      fault: 'config',
    })
  })

  test('conversions are reported, and nothing else', async () => {
    answerJson({ processKey: 'p' })
    const { outcomes } = accountAt(service.url)
    const outcome = { requestId: 'otp_abc', providerMessageId: 'm/1' }
    await outcomes?.reportOutcome({ ...outcome, outcome: 'not_verified' }, soon())
    await outcomes?.reportOutcome({ requestId: 'otp_abc', outcome: 'verified' }, soon())
    expect(service.calls).toEqual([])
    await outcomes?.reportOutcome({ ...outcome, outcome: 'verified' }, soon())
    expect(service.calls).toMatchObject([{ method: 'POST', url: '/ct/1/log/end/m%2F1', body: '' }])
    // The operation has no body, and a strict service refuses one with 415.
    expect(service.calls[0]?.headers).not.toHaveProperty('content-type')
  })
})

test('an account serves the channels that it has senders for', () => {
  const served = (drop: string[]) =>
    accountAt(service.url, Object.fromEntries(drop.map((name) => [`INFOBIP_${name}`, '']))).channels
  expect(served([])).toEqual(['sms', 'voice', 'whatsapp'])
  expect(served(['VOICE_FROM'])).toEqual(['sms', 'whatsapp'])
  expect(served(['SMS_FROM', 'WHATSAPP_FROM', 'WHATSAPP_TEMPLATE'])).toEqual(['voice'])
})
