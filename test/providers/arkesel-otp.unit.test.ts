import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Channel } from '../../core/channel'
import type { Message } from '../../providers/provider'
import { adapterRig, inTime, outcomeOf, type Said, testMessage } from '../harness/adapter-rig'

const config = {
  name: 'arkesel',
  adapter: 'arkesel',
  channels: ['sms', 'voice', 'ussd'] as Channel[],
  test: false,
}
const variables = {
  ARKESEL_API_KEY: 'key-of-the-test',
  ARKESEL_SENDER: 'Acme',
  ARKESEL_USSD_CODE: '*928*77#',
  ARKESEL_CALLBACK_SECRET: 'kQ3_8bG-ZxT1mVw7YpR4sN',
  ARKESEL_ALLOWED_IPS: '192.0.2.0/24',
}

let rig: Awaited<ReturnType<typeof adapterRig>>
beforeAll(async () => {
  rig = await adapterRig(config, variables)
})
afterAll(() => rig.close())

describe('codes of its own', () => {
  const delegated = (channel: Channel = 'voice') => {
    const check = rig.accountWith({}, { delegated: [channel] }).delegated
    if (!check) throw new Error('no delegated check')
    return check
  }
  const generateWith = (said: Said, given: Partial<Message> = {}) => {
    rig.answer(said)
    const { channel = 'voice' } = given
    return outcomeOf(delegated(channel).generate({ ...testMessage, channel, ...given }, inTime()))
  }
  const made = { code: '1000', ussd_code: '*928*01#', message: 'Successful, OTP is sent' }

  test('only on the channels that the policy lists', () => {
    expect(rig.accountWith()).toMatchObject({ channels: ['sms', 'ussd'] })
    expect(rig.accountWith().delegated).toBeUndefined()
    const voice = rig.accountWith({}, { delegated: ['voice'] })
    expect(voice).toMatchObject({ channels: ['sms', 'voice', 'ussd'] })
    expect(voice.delegated?.channels).toEqual(['voice'])
    const both = rig.accountWith({ ARKESEL_USSD_CODE: '' }, { delegated: ['voice', 'ussd'] })
    expect(both.delegated?.channels).toEqual(['voice', 'ussd'])
    expect(both.ussd).toBeUndefined()
  })

  test('are asked for without ours', async () => {
    expect(await generateWith({ body: made })).toEqual({ sent: { providerMessageId: 'att_1' } })
    const [{ url, body } = { url: '', body: '' }] = rig.calls
    expect(url).toBe('/api/otp/generate')
    expect(JSON.parse(body)).toEqual({
      expiry: 5,
      length: 6,
      medium: 'voice',
      message: 'Your Acme code is %otp_code%. It is valid for %expiry% min.',
      number: '233241234567',
      sender_id: 'Acme',
      type: 'numeric',
    })
  })

  test('live one to ten minutes', async () => {
    for (const [validForSeconds, expiry] of [
      [5, 1],
      [61, 2],
      [3_600, 10],
    ]) {
      await generateWith({ body: made }, { validForSeconds })
      expect(JSON.parse(rig.calls[0]?.body ?? '')).toMatchObject({ expiry })
    }
  })

  test('may be dialled for', async () => {
    const sent = { providerMessageId: 'att_1', instruction: '*928*01#' }
    expect(await generateWith({ body: made }, { channel: 'ussd' })).toEqual({ sent })
    expect(JSON.parse(rig.calls[0]?.body ?? '')).toMatchObject({ medium: 'sms' })
    for (const ussd_code of [undefined, 7, 'call +233241234567'])
      expect(
        await generateWith({ body: { ...made, ussd_code } }, { channel: 'ussd' }),
      ).toMatchObject({ fault: 'unroutable' })
  })

  test.each<[string, number, string]>([
    ['1001', 422, 'config'],
    ['1002', 422, 'config'],
    ['1003', 403, 'config'],
    ['1004', 403, 'config'],
    ['1005', 422, 'invalid_number'],
    ['1006', 422, 'unroutable'],
    ['1007', 402, 'config'],
    ['1008', 200, 'config'],
    ['1009', 422, 'config'],
    ['1011', 500, 'unavailable'],
    ['1099', 200, 'unavailable'],
    ['1099', 422, 'unroutable'],
    ['', 502, 'in_doubt'],
    ['', 429, 'throttled'],
    ['+233241234567', 200, 'in_doubt'],
  ])('code %s with status %i is %s', async (code, status, fault) => {
    const outcome = await generateWith({ status, body: { code } })
    expect(outcome).toMatchObject({ fault })
    expect(JSON.stringify(outcome)).not.toContain('233241234567')
  })

  test.each<[string | number, number, object]>([
    ['1100', 200, { sent: true }],
    [1100, 200, { sent: true }],
    ['1104', 200, { sent: false }],
    ['1104', 422, { sent: false }],
    ['1105', 200, { sent: false }],
    ['1101', 422, { fault: 'unroutable' }],
    ['1103', 200, { fault: 'unavailable' }],
    ['1106', 500, { fault: 'unavailable' }],
    ['', 200, { fault: 'unavailable' }],
  ])('checked: code %s with status %i', async (code, status, outcome) => {
    rig.answer({ status, body: { code } })
    const check = { to: '+233241234567', code: '482913', channel: 'voice' as const }
    expect(await outcomeOf(delegated().checkCode(check, inTime()))).toMatchObject(outcome)
    expect(rig.calls).toMatchObject([{ method: 'POST', url: '/api/otp/verify' }])
    expect(JSON.parse(rig.calls[0]?.body ?? '')).toEqual({
      number: '233241234567',
      code: '482913',
    })
  })

  test.each([['4829'], ['ABC123'], ['4829130'], ['48291 ']])(
    '%j cannot be one of them, and is not asked about',
    async (code) => {
      rig.answer({ body: { code: '1101' } })
      const check = { to: '+233241234567', code, channel: 'voice' as const }
      expect(await delegated().checkCode(check, inTime())).toBe(false)
      expect(rig.calls).toEqual([])
    },
  )
})
