import { createServer, type RequestListener } from 'node:http'
import { inspect } from 'node:util'
import { afterEach, describe, expect, test } from '@jest/globals'
import { createProviders } from '../../providers'
import { ProviderFault, type ProviderAccount } from '../../providers/provider'
import {
  configOf,
  fakeVariables,
  messageOn,
  nowhere,
  providerAdapters,
  secretsOf,
} from '../harness/adapters'
import { closeServer, listen } from '../harness/listening'

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()))
})
const serverThat = async (listener: RequestListener) => {
  let calls = 0
  const server = createServer((req, res) => {
    calls++
    listener(req, res)
  })
  open.push(() => closeServer(server))
  return { url: await listen(server), calls: () => calls }
}

/** With codes of the provider's own wherever it can make them. */
function accountAt(name: string, url: string): ProviderAccount {
  const adapter = providerAdapters.find((each) => each.name === name)
  if (!adapter) throw new Error(`no adapter ${name}`)
  const config = { ...configOf(adapter), delegated: [...adapter.channels] }
  const account = createProviders([config], fakeVariables(name, url)).get(name)
  if (!account) throw new Error(`the fake's settings do not suffice for ${name}`)
  return account
}

type Question = (account: ProviderAccount, signal: AbortSignal) => Promise<unknown> | undefined
const { to, code, attemptId } = messageOn('sms')
/** As Twilio's look; the others take any. */
const providerMessageId = `SM${'5a'.repeat(16)}`
const doubt = { attemptId, to, claimedAt: new Date() }
/** Everything beside sending that an account can be asked for; undefined where it cannot. */
const questions: Record<string, Question> = {
  ping: ({ pinger }, signal) => pinger?.ping(signal),
  reconcile: ({ reconciler }, signal) =>
    reconciler?.reconcile({ ...doubt, channel: 'sms' }, signal),
  'reconcile a call': ({ reconciler }, signal) =>
    reconciler?.reconcile({ ...doubt, channel: 'voice' }, signal),
  poll: ({ poller }, signal) => poller?.pollReceipts([{ attemptId, providerMessageId }], signal),
  'look up': ({ lookup }, signal) => lookup?.lookUp(to, signal),
  'report an outcome': ({ outcomes }, signal) =>
    outcomes?.reportOutcome(
      { requestId: 'otp_abc', providerMessageId, outcome: 'verified' },
      signal,
    ),
  'check a code': ({ delegated }, signal) =>
    delegated?.checkCode({ to, code, channel: 'sms' }, signal),
}

const asked = providerAdapters
  .filter(({ name }) => name !== 'smtp')
  .flatMap(({ name }) =>
    Object.entries(questions)
      .filter(([, ask]) => {
        const asking = ask(accountAt(name, nowhere), AbortSignal.abort())
        asking?.catch(() => undefined)
        return asking !== undefined
      })
      .map(([question]): [string, string] => [name, question]),
  )

/** The fault, or what was answered; nothing that is secret is in either. */
async function outcomeAt(url: string, name: string, question: string, ms = 5_000) {
  const asking = questions[question]?.(accountAt(name, url), AbortSignal.timeout(ms))
  try {
    return { answer: await asking }
  } catch (error) {
    if (!(error instanceof ProviderFault)) throw error
    const shown = inspect(error, { depth: 10 }) + JSON.stringify(error)
    for (const secret of secretsOf(name)) expect(shown).not.toContain(secret)
    return { fault: error.fault }
  }
}

test.each(asked.filter(([, question]) => question === 'ping'))(
  '%s: a host that does not know the question of its %s says nothing of messages by that',
  async (name, question) => {
    for (const status of [404, 405, 501]) {
      const { url } = await serverThat((_req, res) => void res.writeHead(status).end('<html>'))
      expect(await outcomeAt(url, name, question)).toEqual({ answer: undefined })
    }
  },
)

describe.each(asked)('%s: %s', (name, question) => {
  test.each([
    [401, 'config'],
    [429, 'throttled'],
    [500, 'unavailable'],
    [503, 'unavailable'],
  ])('an answer of %d is %s', async (status, fault) => {
    const { url, calls } = await serverThat((req, res) => {
      req.resume()
      res.writeHead(status).end(JSON.stringify(req.headers))
    })
    const outcome = await outcomeAt(url, name, question)
    // A doubt in a channel without logs is not asked about.
    expect(outcome).toEqual(calls() > 0 ? { fault } : { answer: undefined })
  })

  const bodies = ['', 'null', '7', '[]', '[null]', '{}', '<html>', '{"data":7}', '{"results":{}}']
  test.each([...bodies, `"${'a'.repeat(200_000)}"`])(
    'a 200 with nothing that can be read: an answer or a fault, nothing else (%#)',
    async (body) => {
      const { url } = await serverThat((req, res) => {
        req.resume()
        res.end(body)
      })
      const outcome = await outcomeAt(url, name, question)
      // What cannot be read proves no message and no code.
      if (question.startsWith('reconcile'))
        expect(outcome).not.toHaveProperty('answer.providerMessageId')
      if (question === 'check a code') expect(outcome).not.toEqual({ answer: true })
      if (question === 'poll') expect(outcome).toEqual({ answer: [] })
    },
  )

  test('no answer in time is a fault', async () => {
    const { url, calls } = await serverThat((req) => void req.resume())
    const outcome = await outcomeAt(url, name, question, 100)
    expect(outcome).toEqual(calls() > 0 ? { fault: 'in_doubt' } : { answer: undefined })
  })
})
