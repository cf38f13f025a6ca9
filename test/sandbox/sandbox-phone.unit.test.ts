import { get, type IncomingMessage } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { ordinary, sandboxRig, settled } from '../harness/sandbox-rig'

const rig = sandboxRig()

describe('the phone', () => {
  /** Opens the phone as the page does. */
  const openPhone = async (address: string) => {
    const events: { event: string; data: Record<string, unknown> }[] = []
    const request = get(`${rig.url}/phones/${address}/events`)
    const response = await new Promise<IncomingMessage>((resolve) =>
      request.once('response', resolve),
    )
    response.setEncoding('utf8').on('data', (text: string) => {
      for (const frame of text.split('\n\n').filter((part) => part.startsWith('event'))) {
        const [event = '', data = ''] = frame.split('\n')
        events.push({
          event: event.slice(7),
          data: JSON.parse(data.slice(6)) as Record<string, unknown>,
        })
      }
    })
    response.on('error', () => undefined)
    return { events, close: () => request.destroy() }
  }

  test('in hand, rings until it is answered', async () => {
    const page = await openPhone('233241234567')
    const { providerMessageId } = await rig.send(ordinary, { channel: 'voice' })
    await settled(() => rig.callbacks.length > 0)
    // Longer than a phone rings that nobody holds.
    await pause(400)
    expect(rig.statuses()).toEqual(['ringing'])
    expect(page.events.findLast(({ event }) => event === 'state')?.data).toMatchObject({
      ringing: [providerMessageId],
    })
    expect((await rig.post(`/calls/${providerMessageId}/answer`)).status).toBe(204)
    await settled(() => rig.callbacks.length === 2)
    expect(rig.statuses()).toEqual(['ringing', 'answered'])
    expect((await rig.post(`/calls/${providerMessageId}/answer`)).status).toBe(404)
    page.close()
  })

  test('in hand, can decline', async () => {
    const page = await openPhone('233241234567')
    const { providerMessageId } = await rig.send(ordinary, { channel: 'voice' })
    await rig.post(`/calls/${providerMessageId}/decline`)
    await settled(() => rig.callbacks.length >= 1 && rig.statuses().includes('declined'))
    // Longer than a phone rings that nobody holds.
    await pause(300)
    expect(rig.statuses()).not.toContain('answered')
    page.close()
  })

  test('put down while it rings, is answered by itself', async () => {
    const page = await openPhone('233241234567')
    await rig.send(ordinary, { channel: 'voice' })
    expect(await settled(() => rig.statuses().includes('ringing'))).toBe(true)
    page.close()
    expect(await settled(() => rig.statuses().includes('answered'), 4_000)).toBe(true)
  })

  test('in hand, dials for itself', async () => {
    rig.screen = { message: 'Your code is 482913', code: '482913' }
    const page = await openPhone('233241234567')
    await rig.send(ordinary, { channel: 'ussd' })
    // Longer than a phone that nobody holds takes to dial.
    await pause(350)
    expect({ callbacks: rig.callbacks, inbox: await rig.inboxOf('233241234567') }).toEqual({
      callbacks: [],
      inbox: [],
    })
    expect(page.events.at(-1)?.data).toMatchObject({ ussd_waiting: true, service_code: '*920*1#' })
    const dialled = await rig.post('/phones/233241234567/dial', { service_code: '*920*1#' })
    expect(await dialled.json()).toMatchObject(rig.screen)
    expect(await rig.inboxOf('233241234567')).toMatchObject([{ code: '482913', status: 'dialled' }])
    page.close()
  })

  test('a number for which nothing waits asks all the same', async () => {
    rig.screen = { message: 'No code is waiting.', code: null }
    const dialled = await rig.post('/phones/233241234567/dial', { service_code: '*920*1#' })
    expect({ answer: await dialled.json(), inbox: await rig.inboxOf() }).toMatchObject({
      answer: rig.screen,
      inbox: [],
    })
    const wrong = await rig.post('/phones/233241234567/dial', { service_code: '*1#' })
    expect(await wrong.json()).toMatchObject({ code: null })
  })

  test('shows what became of the request', async () => {
    const page = await openPhone('233241234567')
    await rig.send(ordinary, { requestId: 'otp_done' })
    const report = { requestId: 'otp_done', outcome: 'verified' } as const
    await rig.adapter().outcomes?.reportOutcome(report, AbortSignal.timeout(2_000))
    expect(await rig.inboxOf('233241234567')).toMatchObject([{ outcome: 'verified' }])
    expect(
      await settled(() => page.events.some(({ data }) => data['outcome'] === 'verified')),
    ).toBe(true)
    page.close()
  })

  test('the page is served under a strict policy', async () => {
    for (const path of ['/', '/phone.js', '/phone.css', '/icon.svg']) {
      const answer = await fetch(rig.url + path)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-security-policy')).toContain("script-src 'self'")
      expect(await answer.text()).not.toMatch(/<script>|onclick=|innerHTML/)
    }
  })
})
