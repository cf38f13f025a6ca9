import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import shippedPolicy from '../../config/policy.json'
import { clientOf, freshPhone, until } from '../harness/client'
import { type Rig, startRig } from '../harness/rig'

let rig: Rig
let client: ReturnType<typeof clientOf>

beforeAll(async () => {
  rig = await startRig()
  client = clientOf(rig)
}, 120_000)
afterAll(() => rig.stop(), 60_000)

const sandbox = { adapter: 'sandbox', test: true }
const base = { ...shippedPolicy, rules: [] }

/** In one step, as an editor or a deployment does it. */
function write(policy: object | string): void {
  const file = join(rig.folder, 'policy.json')
  writeFileSync(`${file}.new`, typeof policy === 'string' ? policy : JSON.stringify(policy))
  renameSync(`${file}.new`, file)
}
const planOf = async () => {
  const status = await client.status(await client.sent(freshPhone()))
  return status.steps.map(({ channel }) => channel)
}
const warningsIn = (program: 'api' | 'worker') =>
  readFileSync(join(rig.folder, `${program}.log`), 'utf8')
    .split('\n')
    .filter((line) => line.includes('the policy file cannot be used'))

test('an edited policy file decides the next plan, without a restart', async () => {
  expect(await planOf()).toEqual(['sms', 'voice', 'whatsapp', 'ussd'])
  const before = await client.sent(freshPhone())
  write({ ...base, channels: { ...base.channels, phone: ['voice', 'sms'] } })
  await until(async () => (await planOf()).join() === 'voice,sms', { within: 15_000 })
  // What had begun keeps its plan.
  expect((await client.status(before)).steps.map(({ channel }) => channel)).toEqual([
    ...['sms', 'voice', 'whatsapp', 'ussd'],
  ])
}, 60_000)

test('a new account is planned by the API and called by the worker', async () => {
  const accounts = [
    { ...sandbox, name: 'sandbox-new', channels: ['sms'] },
    ...base.accounts.filter(({ adapter }) => adapter !== 'sandbox'),
  ]
  const channels = { ...base.channels, phone: ['sms'] }
  write({ ...base, accounts, channels, providers: {} })
  await until(async () => (await planOf()).join() === 'sms', { within: 15_000 })
  await until(
    async () => {
      const phone = freshPhone()
      const id = await client.sent(phone)
      const [attempt] = await until(async () => {
        const [step] = (await client.status(id)).steps
        const done = step?.attempts.filter(({ status }) => status === 'delivered')
        return done?.length ? done : undefined
      })
      return attempt?.provider === 'sandbox-new' && (await client.inbox(phone)).length === 1
    },
    { within: 20_000 },
  )
}, 60_000)

test('a file that cannot be used changes nothing, and both processes say why', async () => {
  const plan = await planOf()
  write('{\n"version": 1,\n"accounts": [}')
  await until(async () => warningsIn('api').length > 0 && warningsIn('worker').length > 0, {
    within: 15_000,
  })
  for (const program of ['api', 'worker'] as const)
    expect(warningsIn(program)[0]).toContain('policy.json:3: is not valid JSON here')
  expect(await planOf()).toEqual(plan)
  // Well-formed, but of accounts that are not there.
  write({
    ...base,
    channels: { ...base.channels, phone: ['voice'] },
    providers: { sms: ['nobody'] },
  })
  await until(async () => warningsIn('api').length > 1, { within: 15_000 })
  expect(await planOf()).toEqual(plan)
  write({ ...base, channels: { ...base.channels, phone: ['voice'] } })
  await until(async () => (await planOf()).join() === 'voice', { within: 15_000 })
}, 60_000)
