import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { freshPhone } from '../harness/client'
import { rawCall } from '../harness/refusal'
import { startSystem, type System } from '../harness/system'

let system: System
beforeAll(async () => {
  system = await startSystem()
})
afterAll(() => system.stop())

describe('the media type', () => {
  const send = (contentType: string, body: string | Buffer) =>
    rawCall(system, { body, headers: { 'content-type': contentType } })
  const json = () => JSON.stringify({ phone_number: freshPhone() })

  test.each([
    'application/json; charset=utf8',
    'application/json; charset="UTF-8"',
    'application/json; odata=verbose',
    'application/json;odata=verbose;charset=utf-8',
    'application/json;',
    'application/json ; ; ',
    'Application/JSON; version=1; q="a;b"',
    'application/json; charset=us-ascii',
  ])('%s is JSON', async (contentType) => {
    expect((await send(contentType, json())).status).toBe(200)
  })

  test.each(['Identity', ' identity ', ''])(
    'a body with the encoding %j is as it is',
    async (encoding) => {
      const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
      expect((await rawCall(system, { body: json(), headers })).status).toBe(200)
    },
  )

  test.each(['application/vnd.api+json', 'application/jsonp', 'text/json', 'application/xml; a=b'])(
    '%s is another',
    async (contentType) => {
      expect((await send(contentType, json())).status).toBe(415)
    },
  )

  test('another charset is refused, since it would be read wrongly', async () => {
    const text = JSON.stringify({ phone_number: freshPhone(), brand: 'Café' })
    const refused: [string, Buffer][] = [
      ['utf-16', Buffer.from(text)],
      ['utf-16le', Buffer.from(json(), 'utf16le')],
      ['iso-8859-1', Buffer.from(text, 'latin1')],
      ['klingon', Buffer.from(text)],
    ]
    for (const [charset, bytes] of refused) {
      const { status, text: answer } = await send(`application/json; charset=${charset}`, bytes)
      expect([charset, status]).toEqual([charset, 415])
      expect(answer).toContain('UTF-8')
    }
  })
})
