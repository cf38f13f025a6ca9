import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Delivery } from '../../sandbox/callbacks'
import { vendors } from '../../sandbox/vendors'
import type { VendorParts } from '../../sandbox/vendors/vendor'
import { clientOf, freshPhone, type TestClient } from '../harness/client'
import { startSystem, type System } from '../harness/system'

const credentials = { CALLBACK_USER: 'otp', CALLBACK_PASSWORD: 'a-password' }
const speaking = vendors.flatMap((vendor) =>
  'reply' in vendor ? [{ name: vendor.name, vendor }] : [],
)

describe.each(speaking)('messages of people by $name', ({ name, vendor }) => {
  let system: System
  let live: TestClient
  beforeAll(async () => {
    system = await startSystem({
      fakes: [name],
      withWorker: false,
      variables: {
        INFOBIP_CALLBACK_USER: credentials.CALLBACK_USER,
        INFOBIP_CALLBACK_PASSWORD: credentials.CALLBACK_PASSWORD,
      },
    })
    live = clientOf(system, system.liveKey)
  })
  afterAll(() => system.stop())

  /** The call that the vendor makes of a message, to be posted when the test says. */
  async function callOf(from: string, text: string): Promise<Delivery> {
    const made: Delivery[] = []
    const parts = {
      settings: { ...vendor.settings(system.sandboxUrl), ...(name === 'infobip' && credentials) },
      productUrl: () => system.url,
      call: async (delivery: Delivery) => {
        made.push(delivery)
        return ''
      },
    }
    await vendor.reply?.(
      parts as unknown as VendorParts,
      { from, text, to: '14155550100' } as never,
    )
    const [delivery] = made
    if (!delivery) throw new Error('no call')
    return delivery
  }
  const post = async ({ url, headers, body }: Delivery, at = url) =>
    (await fetch(at, { method: 'POST', headers: { ...headers, connection: 'close' }, body })).status

  test('a STOP that is posted again after consent was given anew ends nothing', async () => {
    const phone = freshPhone()
    await live.sent(phone)
    const stop = await callOf(phone, 'STOP')
    expect(await post(stop)).toBe(200)
    expect((await live.send(phone)).status).toBe(403)
    const given_at = new Date().toISOString()
    const id = await live.sent(phone, { consent: { text_version: '3', given_at } })
    for (let again = 0; again < 3; again++) expect(await post(stop)).toBe(200)
    expect((await live.status(id)).state).toBe('pending')
    expect(await post(await callOf(phone, 'STOP'))).toBe(200)
    expect((await live.status(id)).state).toBe('cancelled')
  })

  test('twenty copies at once are one', async () => {
    const phone = freshPhone()
    await live.sent(phone)
    const stop = await callOf(phone, 'STOP')
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(stop)))
    expect(new Set(answers)).toEqual(new Set([200]))
    expect((await live.send(phone)).status).toBe(403)
  })

  if (name === 'africas-talking')
    test.each([undefined, 'an id/of another+form='])('a STOP with the id %j is one', async (id) => {
      const phone = freshPhone()
      await live.sent(phone)
      const stop = await callOf(phone, 'STOP')
      const fields = new URLSearchParams(String(stop.body))
      fields.delete('id')
      if (id !== undefined) fields.set('id', id)
      expect(await post({ ...stop, body: fields.toString() })).toBe(200)
      expect((await live.send(phone)).status).toBe(403)
    })

  test('a changed word, another body or another address is a forgery, or nothing', async () => {
    const phone = freshPhone()
    const id = await live.sent(phone)
    const hello = await callOf(phone, 'HELLO')
    const forged = { ...hello, body: String(hello.body).replace('HELLO', 'STOP') }
    // A vendor that signs nothing is told by its secret alone: what its caller says is believed.
    if (name !== 'africas-talking' && name !== 'infobip') {
      expect(await post(forged)).toBe(401)
      expect((await live.status(id)).state).toBe('pending')
    }
    const stop = await callOf(phone, 'STOP')
    for (const path of [
      '/webhooks/sandbox-a/inbound',
      '/webhooks/nobody/inbound',
      '/webhooks/otp-status',
    ])
      expect(await post(stop, system.url + path)).toBeGreaterThanOrEqual(400)
    expect((await live.status(id)).state).toBe('pending')
  })
})
