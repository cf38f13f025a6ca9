import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import type { Message } from '../../providers/provider'
import { reservedNumbers } from '../../sandbox/numbers'
import { Script } from '../../sandbox/scenario'
import { until } from '../harness/client'
import { ordinary, reserved, sandboxRig, settled } from '../harness/sandbox-rig'

const rig = sandboxRig()

describe('an ordinary number', () => {
  test('shows the message at once and reports it delivered after 200 ms, signed', async () => {
    const { result, providerMessageId } = await rig.send(ordinary)
    const acceptedAt = Date.now()
    expect({ result, inbox: await rig.inboxOf('233241234567') }).toEqual({
      result: 'accepted',
      inbox: [
        {
          id: providerMessageId,
          provider: 'sandbox-a',
          channel: 'sms',
          to: ordinary,
          text: 'Acme: your code is 482913',
          code: '482913',
          at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
          status: 'accepted',
          request_id: `otp_${rig.count}`,
        },
      ],
    })
    expect(await settled(() => rig.callbacks.length === 1)).toBe(true)
    expect(rig.callbacks[0]).toMatchObject({
      path: `/webhooks/sandbox-a/token-${rig.count}`,
      body: { id: providerMessageId, reference: `att_${rig.count}`, status: 'delivered' },
      receipts: [{ status: 'delivered', eventKey: `${providerMessageId}:delivered` }],
    })
    expect((rig.callbacks[0]?.at ?? 0) - acceptedAt).toBeGreaterThanOrEqual(150)
    expect(await rig.inboxOf(ordinary.slice(1))).toMatchObject([{ status: 'delivered' }])
  })

  test('a call rings, shows its code at once, and is answered by itself', async () => {
    await rig.send(ordinary, { channel: 'voice', text: '4 8 2' })
    expect(await rig.inboxOf('233241234567')).toMatchObject([{ channel: 'voice', code: '482913' }])
    expect(await settled(() => rig.callbacks.length === 2)).toBe(true)
    expect(rig.callbacks.map(({ receipts }) => receipts[0]?.status)).toEqual(['sent', 'answered'])
  })

  test('a USSD code appears at the dial, as the product says it', async () => {
    rig.screen = { message: 'Your Acme code is 482913.', code: '482913' }
    const { providerMessageId } = await rig.send(ordinary, { channel: 'ussd' })
    expect(await rig.inboxOf('233241234567')).toEqual([])
    expect(await settled(() => rig.callbacks.length === 1)).toBe(true)
    const inbox = await until(async () => {
      const entries = await rig.inboxOf('233241234567')
      return entries.length > 0 && entries
    })
    expect({ path: rig.callbacks[0]?.path, dial: rig.callbacks[0]?.body }).toEqual({
      path: '/ussd/sandbox-a/session',
      dial: {
        session_id: expect.any(String),
        phone_number: ordinary,
        service_code: '*920*1#',
        input: '',
      },
    })
    expect(inbox).toMatchObject([
      {
        id: providerMessageId,
        channel: 'ussd',
        text: rig.screen.message,
        code: '482913',
        status: 'dialled',
      },
    ])
  })

  test('the user dials again when the product was not ready', async () => {
    rig.productStatus = [503]
    await rig.send(ordinary, { channel: 'ussd' })
    expect(await settled(() => rig.callbacks.length === 1)).toBe(true)
    await until(async () => (await rig.inboxOf('233241234567')).length === 1)
  })

  test('a callback that got no 2xx comes again, the same', async () => {
    rig.productStatus = [503, 500]
    await rig.send(ordinary)
    expect(await settled(() => rig.callbacks.length === 1)).toBe(true)
    expect(rig.statuses()).toEqual(['delivered'])
  })
})

describe('reserved numbers', () => {
  const refusals: [string, string][] = [
    ['03', 'invalid_number'],
    ['04', 'blocked'],
    ['16', 'unavailable'],
    ['06', 'in_doubt'],
  ]
  test.each(refusals)('%s is refused: %s, and nothing arrives', async (suffix, result) => {
    for (const channel of ['sms', 'voice', 'whatsapp', 'ussd'] as const) {
      const sent = await rig.send(
        reserved(suffix),
        { channel },
        { timeoutMs: suffix === '06' ? 150 : 5_000 },
      )
      expect(sent.result).toBe(result)
    }
    // Longer than anything takes to arrive here.
    await pause(350)
    expect({
      inbox: await rig.inboxOf(reserved(suffix).slice(1)),
      callbacks: rig.callbacks,
    }).toEqual({
      inbox: [],
      callbacks: [],
    })
  })

  const reports: [string, Message['channel'], string[]][] = [
    ['01', 'sms', []],
    ['01', 'voice', ['ringing', 'answered']],
    ['01', 'whatsapp', ['delivered']],
    ['02', 'sms', []],
    ['02', 'voice', []],
    ['02', 'whatsapp', []],
    ['09', 'sms', ['delivered', 'delivered', 'sent']],
    ['09', 'voice', ['answered', 'answered', 'ringing']],
    ['10', 'sms', []],
    ['11', 'sms', ['failed']],
    ['12', 'voice', ['failed']],
    ['13', 'voice', ['ringing', 'declined']],
    ['17', 'voice', ['ringing']],
    ['18', 'sms', ['sent']],
    ['20', 'sms', ['expired']],
  ]
  test.each(reports)('%s by %s is accepted and reports %j', async (suffix, channel, expected) => {
    expect(await rig.send(reserved(suffix), { channel })).toMatchObject({ result: 'accepted' })
    await settled(() => rig.callbacks.length >= expected.length, 2_000)
    // Longer than any report takes that is not expected.
    await pause(suffix === '13' ? 0 : 400)
    const [entry] = await rig.inboxOf(reserved(suffix).slice(1))
    expect({ reported: rig.statuses(), code: entry?.['code'] }).toEqual({
      reported: expected,
      code: '482913',
    })
  })

  test('02 never dials', async () => {
    expect(await rig.send(reserved('02'), { channel: 'ussd' })).toMatchObject({
      result: 'accepted',
    })
    // Longer than an ordinary number takes to dial.
    await pause(350)
    expect(rig.callbacks).toEqual([])
  })

  test('09 keeps the status that it reached', async () => {
    await rig.send(reserved('09'))
    await settled(() => rig.callbacks.length === 3)
    expect(await rig.inboxOf(reserved('09').slice(1))).toMatchObject([{ status: 'delivered' }])
    expect(new Set(rig.callbacks.map(({ receipts }) => receipts[0]?.eventKey)).size).toBe(2)
  })

  test('05 fails twice for each request, over all providers, then accepts', async () => {
    const results = async (requestId: string) => {
      const seen = []
      for (const provider of ['sandbox-a', 'sandbox-b', 'sandbox-a', 'sandbox-b']) {
        seen.push((await rig.send(reserved('05'), { requestId }, { provider })).result)
      }
      return seen
    }
    const expected = ['unavailable', 'unavailable', 'accepted', 'accepted']
    expect([await results('otp_x'), await results('otp_y')]).toEqual([expected, expected])
    expect(await rig.inboxOf(reserved('05').slice(1))).toHaveLength(4)
  })

  test('07 takes the message, drops the connection, and delivers', async () => {
    expect(await rig.send(reserved('07'))).toMatchObject({ result: 'in_doubt' })
    expect(await rig.inboxOf(reserved('07').slice(1))).toHaveLength(1)
    expect(await settled(() => rig.callbacks.length === 1)).toBe(true)
  })

  test('08 reports before it answers', async () => {
    let reportedFirst: boolean | undefined
    await rig.send(reserved('08')).then(() => (reportedFirst = rig.callbacks.length === 1))
    expect(reportedFirst).toBe(true)
  })

  test('14 accepts after 3 s', async () => {
    const startedAt = Date.now()
    expect(await rig.send(reserved('14'))).toMatchObject({ result: 'accepted' })
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(2_990)
  })

  test('15 throttles twice, then accepts', async () => {
    const results = []
    for (let i = 0; i < 3; i++)
      results.push((await rig.send(reserved('15'), { requestId: 'otp_t' })).result)
    expect(results).toEqual(['throttled', 'throttled', 'accepted'])
  })

  test('19 is refused by sandbox-a only', async () => {
    const [a, b] = [
      await rig.send(reserved('19')),
      await rig.send(reserved('19'), {}, { provider: 'sandbox-b' }),
    ]
    expect([a.result, b.result]).toEqual(['unavailable', 'accepted'])
  })

  test('all are in GET /numbers, in the words of the scenario API', async () => {
    const answer = (await (await fetch(`${rig.url}/numbers`)).json()) as typeof reservedNumbers
    expect(answer).toEqual(reservedNumbers)
    expect(answer.map(({ number }) => number.slice(-2))).toEqual(
      Array.from({ length: 20 }, (_, index) => String(index + 1).padStart(2, '0')),
    )
    for (const { rules } of answer) expect(Script.safeParse(rules).success).toBe(true)
  })
})
