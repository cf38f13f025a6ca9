import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { changeApp } from '../../db/apps/apps'
import { clientOf, freshPhone, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { publishableKeyOf, shown, visitorsOf } from '../harness/visitor'

let system: System
let visitors: ReturnType<typeof visitorsOf>
beforeAll(async () => {
  system = await startSystem({ trustProxy: { hops: 1 } })
  visitors = visitorsOf(system, await publishableKeyOf(system))
})
afterAll(() => system.stop())

const operator = () => clientOf(system, system.operatorKey)
const allow = (page_channels: string[] | null) =>
  operator().call('PATCH', '/admin/apps/app', { page_channels })
/** Settings of keys are read again after a while. */
const isRefused = async (channel: string) =>
  shown(await visitors().send(freshPhone(), { channel })) === '400 INVALID_REQUEST'

test('a page names any channel, until the app says which', async () => {
  expect(shown(await visitors().send(freshPhone(), { channel: 'voice' }))).toBe('200 sent')
  expect(await allow(['sms', 'whatsapp'])).toMatchObject({
    status: 200,
    body: { page_channels: ['sms', 'whatsapp'] },
  })
  await until(() => isRefused('voice'))
  const { status, body } = await visitors().send(freshPhone(), { channel: 'voice' })
  expect([status, body.detail]).toEqual([
    400,
    'channel: is not one that pages of this app may name.',
  ])
  expect(shown(await visitors().send(freshPhone(), { channel: 'whatsapp' }))).toBe('200 sent')
  expect(shown(await visitors().send(freshPhone()))).toBe('200 sent')
  // A repeated send does not get around it.
  const phone = freshPhone()
  await visitors().send(phone)
  expect(shown(await visitors().send(phone, { channel: 'voice' }))).toBe('400 INVALID_REQUEST')
  // Nor is a back end held to it.
  expect((await clientOf(system).send(freshPhone(), { channel: 'voice' })).status).toBe(200)

  await changeApp(system.db, 'app', { pageChannels: [] })
  await until(() => isRefused('sms'))
  expect(shown(await visitors().send(freshPhone()))).toBe('200 sent')
  expect((await allow(null)).body).toMatchObject({ page_channels: null })
  await until(async () => !(await isRefused('voice')))
})

test.each([[['fax']], [['sms', 'sms']], ['sms'], [[null]]])('%j is no such list', async (list) => {
  const { status, body } = await operator().call('PATCH', '/admin/apps/app', {
    page_channels: list,
  })
  expect([status, body.error_code]).toEqual([400, 'INVALID_REQUEST'])
})
