import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { blameOf } from '../../core/delivery/breaker'
import type { Channel } from '../../core/channel'
import { adapters } from '../../providers'
import type { CodeMeaning, Subject } from '../../providers/error-codes'
import { receiptOfCode, subjects } from '../../providers/error-codes'
import { ProviderFault, type ProviderAccount } from '../../providers/provider'
import { accountAt, httpCalls, messageOn, nowhere, providerAdapters } from '../harness/adapters'
import { startRecorder } from '../harness/recorder'

/** Subjects of which a breaker may learn; all others are somebody's number, country, trial list or text. */
const ofAccount: readonly Subject[] = ['credentials', 'setup', 'money', 'throttling', 'outage']
const isOfAccount = ({ about }: CodeMeaning) => ofAccount.includes(about)
const tables = adapters.map(({ name, codes }) => [name, codes] as const)

let service: Awaited<ReturnType<typeof startRecorder>>
beforeAll(async () => {
  service = await startRecorder()
})
afterAll(() => service.close())

async function faultOf(account: ProviderAccount, channel: Channel): Promise<ProviderFault> {
  try {
    await account.sender.send(messageOn(channel), AbortSignal.timeout(5_000))
  } catch (error) {
    if (error instanceof ProviderFault) return error
    throw error
  }
  throw new Error('the message was taken')
}

/** What a breaker learns of a fault. */
const learnt = ({ fault, ofRecipient }: ProviderFault) => (ofRecipient ? 'none' : blameOf[fault])

describe.each(tables)('the codes of %s', (name, codes) => {
  test('there are some', () => expect(codes.size).toBeGreaterThan(0))

  test.each([...codes])('%s blames the account only where it is about it', (_code, meaning) => {
    const { receipt, fault } = meaning
    if (isOfAccount(meaning)) expect(blameOf[fault]).not.toBe('none')
    else expect([fault, receipt]).not.toContain('config')
    if (!isOfAccount(meaning)) expect(receipt).not.toBe('failed.config')
  })

  test('a code that nobody wrote down is no permanent failure in a report', () => {
    expect([name, receiptOfCode(codes, 'nobody-knows')]).toEqual([name, 'failed.retryable'])
  })
})

/** A refusal with a code, as each provider writes it. */
const refusalBy: Record<string, (code: string, channel: Channel) => unknown> = {
  twilio: (code) => ({ code: Number(code), message: 'x', status: 400 }),
  vonage: (code) => ({ type: `https://developer.vonage.com/api-errors#${code}`, title: 'x' }),
  meta: (code) => ({ error: { message: 'x', type: 'OAuthException', code: Number(code) } }),
  infobip: (code) => ({ requestError: { serviceException: { messageId: code, text: 'x' } } }),
  arkesel: (code) => ({ code, message: 'x' }),
  'africas-talking': (code) => ({ error_code: code }),
}
/** As only a 2xx says it. */
const refusalInside: Record<string, (code: string, channel: Channel) => unknown> = {
  infobip: (name) => ({
    messages: [{ messageId: 'm', status: { groupId: 5, groupName: 'REJECTED', id: 1, name } }],
  }),
  'africas-talking': (code, channel) =>
    channel === 'voice'
      ? { entries: [{ status: code.replace('call.', ''), sessionId: 'None' }] }
      : {
          SMSMessageData: {
            Message: 'Sent to 0/1',
            Recipients: [/^\d/.test(code) ? { statusCode: Number(code) } : { status: code }],
          },
        },
}
const unwritten: Record<string, string> = {
  ...{ twilio: '98765', vonage: '1999', meta: '131999', infobip: 'E999', arkesel: '1099' },
  'africas-talking': 'NOBODY_KNOWS',
}

/** Arkesel's codes are those of its OTP API alone. */
const answering = httpCalls.filter(([name]) => refusalBy[name] && name !== 'arkesel')

describe.each(answering)('refusals by %s on %s', (name, channel) => {
  const codes = providerAdapters.find((adapter) => adapter.name === name)?.codes
  const mine = [...(codes ?? [])].filter(([code]) => {
    if (name === 'africas-talking') return code.startsWith('call.') === (channel === 'voice')
    return true
  })
  const ofOthers = mine.filter(([, meaning]) => !isOfAccount(meaning)).map(([code]) => code)
  // A word of reports alone, about a kind of message that is not sent here.
  const ofSetup = mine
    .filter(([code, { fault }]) => fault === 'config' && code !== 'InvalidLinkId')
    .map(([code]) => code)
  const answer = (status: number, body: unknown) =>
    service.answerWith(() => ({
      status,
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    }))
  const inside = refusalInside[name]
  const statuses = inside ? [200] : [400, 401, 403, 404, 422]
  const made = (code: string) => (inside ?? refusalBy[name])?.(code, channel)

  test.each(ofOthers)('%s never reaches a breaker, whatever the status', async (code) => {
    // A provider that fails, and says nothing, is down.
    const failing = inside || codes?.get(code)?.about === 'unknown' ? [] : [500, 501, 502, 503]
    for (const status of [...statuses, ...failing]) {
      answer(status, made(code))
      const fault = await faultOf(accountAt(name, service.url), channel)
      expect([status, learnt(fault)]).toEqual([status, 'none'])
      // Numbers and words of reports only come without one.
      if (fault.code !== undefined) expect(code.endsWith(fault.code)).toBe(true)
    }
  })

  test.each(ofSetup)('%s is the account’s own', async (code) => {
    const isHttp = !inside || /^(E4|UNAUTH|FORBID|NOT_FOUND)/.test(code)
    answer(isHttp ? 403 : 200, isHttp ? refusalBy[name]?.(code, channel) : made(code))
    expect((await faultOf(accountAt(name, service.url), channel)).fault).toBe('config')
  })

  test.each([400, 401, 402, 403, 404, 405, 409, 422])(
    'a code that nobody wrote down blames neither number nor account: %d',
    async (status) => {
      answer(status, refusalBy[name]?.(unwritten[name] ?? '', channel))
      const fault = await faultOf(accountAt(name, service.url), channel)
      expect(fault.fault).toBe('unroutable')
      expect(learnt(fault)).toBe('none')
    },
  )

  test('a 401 without a code is one of the account', async () => {
    answer(401, {})
    expect((await faultOf(accountAt(name, service.url), channel)).fault).toBe('config')
  })
})

test.each<[string, Channel, unknown, object]>([
  ['meta', 'whatsapp', refusalBy['meta']?.('130497', 'whatsapp'), { code: '130497' }],
  ['twilio', 'sms', refusalBy['twilio']?.('21654', 'sms'), { code: '21654' }],
  ['vonage', 'sms', { type: 'https://x/api-errors/messages#1160' }, { code: '1160' }],
  ['infobip', 'sms', refusalBy['infobip']?.('E401', 'sms'), { code: 'E401' }],
  // Digits that could be a phone number, and the code of the message itself.
  ['infobip', 'sms', refusalBy['infobip']?.('E233241234567', 'sms'), { code: undefined }],
  ['meta', 'whatsapp', refusalBy['meta']?.('482913', 'whatsapp'), { code: undefined }],
])('%s: the code is kept with the fault, unless it could be personal', async (...row) => {
  const [name, channel, body, expected] = row
  service.answerWith(() => ({ status: 403, body: JSON.stringify(body) }))
  expect(await faultOf(accountAt(name, service.url), channel)).toMatchObject(expected)
})

test('Vonage names the parameter that is wrong beside a code that is about none', async () => {
  const wrong = async (name: string) => {
    const type = 'https://developer.vonage.com/api-errors/messages#1150'
    const body = { type, title: 'Invalid params', invalid_parameters: [{ name, reason: 'x' }] }
    service.answerWith(() => ({ status: 422, body: JSON.stringify(body) }))
    return (await faultOf(accountAt('vonage', service.url), 'sms')).fault
  }
  expect(await wrong('from')).toBe('config')
  expect(await wrong('to')).toBe('invalid_number')
  expect(await wrong('text')).toBe('unroutable')
  expect(await wrong('ttl')).toBe('unroutable')
})

describe('reports', () => {
  const infobip = (status: object) => {
    const body = Buffer.from(JSON.stringify({ results: [{ messageId: 'att_1', status }] }))
    const url = 'https://otp.example.com/webhooks/infobip/token'
    return accountAt('infobip', nowhere).receipts?.readReceipts({ headers: {}, url, body })
  }
  test('a number that is not on a trial account’s list is not the account’s fault', () => {
    expect(infobip({ groupId: 5, id: 18, name: 'REJECTED_DESTINATION_NOT_REGISTERED' })).toEqual([
      expect.objectContaining({
        status: 'failed.permanent',
        code: 'REJECTED_DESTINATION_NOT_REGISTERED',
      }),
    ])
    expect(infobip({ groupId: 3, id: 5, name: 'DELIVERED_TO_HANDSET' })?.[0]).not.toHaveProperty(
      'code',
    )
  })
})

test('docs/providers/error-codes.md has every code under its subject', () => {
  const page = readFileSync(
    join(__dirname, '..', '..', 'docs', 'providers', 'error-codes.md'),
    'utf8',
  )
  const rows = new Map<string, string>()
  for (const [, name = '', about = '', codes = ''] of page.matchAll(
    /^\| `([a-z-]+)` +\| (\w+) +\| (.+?) +\|$/gm,
  ))
    rows.set(`${name} ${about}`, codes)
  const expected = new Map<string, string>()
  for (const { name, codes } of adapters)
    for (const about of Object.keys(subjects)) {
      const its = [...codes].filter(([, meaning]) => meaning.about === about).map(([code]) => code)
      if (its.length > 0)
        expected.set(`${name} ${about}`, its.map((code) => `\`${code}\``).join(' '))
    }
  expect([...rows]).toEqual([...expected])
})
