import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
} from 'node:http'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, describe, expect, test } from '@jest/globals'
import type { Channel } from '../../core/channel'
import { accountsLeftOut, createProviders, settingsFaults } from '../../providers'
import { prefixOf } from '../../providers/adapter'
import { ProviderFault } from '../../providers/provider'
import { vendors } from '../../sandbox/vendors'
import {
  accountAt,
  configOf,
  fakeVariables,
  httpCalls,
  messageOn,
  nowhere,
  providerAdapters,
  secretsOf,
} from '../harness/adapters'
import { closeServer, listen } from '../harness/listening'

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()))
})

const httpThat = async (listener: RequestListener) => {
  const server: HttpServer = createHttpServer(listener)
  open.push(() => closeServer(server))
  return listen(server)
}
const tcpThat = async (onSocket: (socket: Socket) => void) => {
  const sockets = new Set<Socket>()
  const server: Server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  open.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return listen(server)
}

/** `taken`, or the fault; whatever comes holds nothing that is secret. */
async function outcomeAt(url: string, name: string, channel: Channel, ms = 5_000) {
  const account = accountAt(name, url)
  try {
    await account.sender.send(messageOn(channel), AbortSignal.timeout(ms))
    return { outcome: 'taken' }
  } catch (error) {
    if (!(error instanceof ProviderFault)) throw error
    const shown = inspect(error, { depth: 10 }) + JSON.stringify(error)
    for (const secret of secretsOf(name)) expect(shown).not.toContain(secret)
    return { outcome: error.fault, retryAfterMs: error.retryAfterMs }
  }
}

test('every provider’s adapter has a fake of its name, and every fake an adapter', () => {
  const names = providerAdapters.map(({ name }) => name).sort()
  expect(vendors.map(({ name }) => name).sort()).toEqual(names)
})

describe.each(httpCalls)('%s by %s', (name, channel) => {
  /** The request comes back in the answer: an adapter that quotes it shows its secrets. */
  const echo =
    (status: number, headers: Record<string, string> = {}): RequestListener =>
    (req, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        const said = `${JSON.stringify(req.headers)} ${Buffer.concat(chunks).toString('utf8')}`
        res.writeHead(status, headers).end(JSON.stringify({ message: said, error: said }))
      })
    }

  test.each([
    [401, 'config'],
    [403, 'config'],
    [404, 'config'],
    [429, 'throttled'],
    [500, 'unavailable'],
    [503, 'unavailable'],
    [502, 'in_doubt'],
    [504, 'in_doubt'],
  ])('an answer of %d that says no more is %s', async (status, outcome) => {
    expect(await outcomeAt(await httpThat(echo(status)), name, channel)).toMatchObject({ outcome })
  })

  test('a 429 says when to come back', async () => {
    const url = await httpThat(echo(429, { 'retry-after': '2' }))
    expect(await outcomeAt(url, name, channel)).toMatchObject({ retryAfterMs: 2_000 })
  })

  const page = '<html><body>Bad gateway</body></html>'
  test.each([
    ['502 with a page', 502, page, ['in_doubt']],
    ['200 with a page', 200, page, ['taken', 'in_doubt']],
    ['200 with nothing', 200, '', ['taken', 'in_doubt']],
    ['200 with null', 200, 'null', ['taken', 'in_doubt']],
    ['200 with a list', 200, '[[]]', ['taken', 'in_doubt']],
    ['200 with a number', 200, '7', ['taken', 'in_doubt']],
    ['200 with something too long', 200, `"${'a'.repeat(200_000)}"`, ['taken', 'in_doubt']],
    ['400 with null', 400, 'null', ['config']],
    ['500 with null', 500, 'null', ['unavailable']],
  ])('%s', async (_title, status, body, outcomes) => {
    const url = await httpThat((req, res) => {
      req.resume()
      res.writeHead(status, { 'content-type': 'application/json' }).end(body)
    })
    expect(outcomes).toContain((await outcomeAt(url, name, channel)).outcome)
  })

  test('nobody listens: nothing was sent', async () => {
    const server = createTcpServer()
    const url = await listen(server)
    await new Promise((resolve) => server.close(resolve))
    expect(await outcomeAt(url, name, channel)).toMatchObject({ outcome: 'unavailable' })
  })

  test('no answer in time: in doubt', async () => {
    const url = await httpThat((req) => void req.resume())
    expect(await outcomeAt(url, name, channel, 150)).toMatchObject({ outcome: 'in_doubt' })
  })

  test.each<[string, (socket: Socket) => void]>([
    ['closed', (socket) => socket.end()],
    ['reset', (socket) => socket.resetAndDestroy()],
    ['garbage', (socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n')],
  ])('%s after the request was read: in doubt, and asked once', async (_title, then) => {
    let asked = 0
    const url = await tcpThat((socket) =>
      socket.once('data', () => {
        asked++
        then(socket)
      }),
    )
    expect(await outcomeAt(url, name, channel)).toMatchObject({ outcome: 'in_doubt' })
    expect(asked).toBe(1)
  })

  test('a claim that grew old is not sent', async () => {
    let asked = 0
    const url = await httpThat((_req, res) => {
      asked++
      res.end()
    })
    const message = { ...messageOn(channel), notAfter: performance.now() - 1 }
    const sending = accountAt(name, url).sender.send(message, AbortSignal.timeout(5_000))
    await expect(sending).rejects.toMatchObject({ name: 'StaleClaim' })
    expect(asked).toBe(0)
  })
})

/** An answer to a send with what the provider documents and no more, by its path; and the id in it. */
const documented: Record<string, [status: string, body: unknown, id: string]> = {
  '/Messages.json': ['201 Created', { sid: 'SM1', status: 'queued', price: null }, 'SM1'],
  '/Calls.json': ['201 CREATED', { sid: 'CA1', status: 'queued' }, 'CA1'],
  '/v1/messages': ['202 Accepted', { message_uuid: 'u1' }, 'u1'],
  '/v1/calls': ['201 Created', { uuid: 'u2', status: 'started' }, 'u2'],
  '/messages': ['200 OK', { messages: [{ id: 'wamid.1' }] }, 'wamid.1'],
  '/api/v2/sms/send': [
    '200 OK',
    { status: 'success', data: [{ recipient: '233241234567', id: 'ark-1' }] },
    'ark-1',
  ],
  '/version1/messaging': [
    '201 Created',
    {
      SMSMessageData: {
        Message: 'Sent to 1/1 Total Cost: KES 0.8000',
        Recipients: [
          {
            ...{ statusCode: 101, number: '+233241234567', status: 'Success' },
            ...{ cost: 'KES 0.8000', messageId: 'ATXid_1' },
          },
        ],
      },
    },
    'ATXid_1',
  ],
  '/call': [
    '200 OK',
    {
      entries: [{ phoneNumber: '+233241234567', status: 'Queued', sessionId: 'ATVId_1' }],
      errorMessage: 'None',
    },
    'ATVId_1',
  ],
  '/sms/3/messages': infobipAnswer(),
  '/tts/3/advanced': infobipAnswer(),
  '/whatsapp/1/message/template': infobipAnswer(),
}
function infobipAnswer(): [string, unknown, string] {
  const status = {
    ...{ groupId: 1, groupName: 'PENDING', id: 26, name: 'PENDING_ACCEPTED' },
    description: 'Message accepted, pending for delivery.',
  }
  const messages = [{ messageId: 'ib-1', status, destination: '233241234567' }]
  return ['200 OK', { bulkId: 'b', messages }, 'ib-1']
}

const type = 'Content-Type: application/json;charset=UTF-8'
test.each<[string, (status: string, body: string) => string[]]>([
  [
    'HTTP/1.0, ended by the end',
    (status, body) => [`HTTP/1.0 ${status}\r\n${type}\r\n\r\n${body}`],
  ],
  [
    'chunks that come one by one',
    (status, body) => [
      `HTTP/1.1 ${status}\r\n${type}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      ...[...body].map((byte) => `1\r\n${byte}\r\n`),
      '0\r\n\r\n',
    ],
  ],
])('answers with no more than is documented, as %s', async (_title, written) => {
  for (const [name, channel] of httpCalls) {
    let id = ''
    const url = await tcpThat((socket) =>
      socket.once('data', (head: Buffer) => {
        const [, path = ''] = /^POST (\S+) /.exec(head.toString('latin1')) ?? []
        // The longest: one provider's path is the end of another's.
        const [said] = Object.keys(documented)
          .filter((each) => path.endsWith(each))
          .sort((one, other) => other.length - one.length)
        const [status, body, given] = documented[said ?? ''] ?? ['404 Not Found', {}, '']
        id = given
        for (const part of written(status, JSON.stringify(body))) socket.write(part)
        socket.end()
      }),
    )
    const sending = accountAt(name, url).sender.send(messageOn(channel), AbortSignal.timeout(5_000))
    expect([name, channel, (await sending).providerMessageId]).toEqual([name, channel, id])
  }
})

describe.each(providerAdapters.map((adapter) => [adapter.name, adapter] as const))(
  'the settings of %s',
  (name, adapter) => {
    const config = configOf(adapter)
    const prefix = prefixOf(adapter, config)
    const good = fakeVariables(name, nowhere)
    const mine = Object.keys(adapter.settings.shape).map((variable) => prefix + variable)
    const faultsOf = (given: Record<string, string | undefined>, isProduction = false) =>
      settingsFaults([config], given, { isProduction })

    test('are all there is: with them it serves, without them it is off and nobody is told', () => {
      expect(createProviders([config], good).get(name)?.channels.length).toBeGreaterThan(0)
      expect(faultsOf(good)).toEqual([])
      expect(createProviders([config], {}).size).toBe(0)
      expect(accountsLeftOut([config], {})).toMatchObject([{ account: name, begun: false }])
    })

    test('one that is missing is named, and nothing else is shown', () => {
      for (const variable of mine) {
        const without = { ...good, [variable]: undefined }
        const left = accountsLeftOut([config], without)
        for (const { reason, begun } of left) {
          expect(reason).toMatch(new RegExp(`^Provider account "${name}" is off: ${prefix}\\w+`))
          expect(begun).toBe(true)
        }
        const usable = createProviders([config], without).size
        expect([variable, usable + left.length]).toEqual([variable, 1])
      }
    })

    test('one that alone is set is half an account', () => {
      for (const variable of mine.filter((each) => good[each] !== undefined)) {
        const [left] = accountsLeftOut([config], { [variable]: good[variable] })
        expect([variable, left?.begun]).toEqual([variable, true])
        for (const secret of secretsOf(name)) expect(left?.reason).not.toContain(secret)
      }
    })

    test.each(['\u0000', ' ', '?', '{}', '☃'.repeat(300), '-1', 'ftp://127.0.0.1'])(
      'a value such as %p is refused by a sentence without it, or can be used',
      (value) => {
        for (const variable of mine) {
          const given = { ...good, [variable]: value }
          const faults = faultsOf(given)
          for (const fault of faults) {
            expect(fault).toMatch(new RegExp(`^${prefix}\\w+: \\S.*\\S$`))
            for (const secret of secretsOf(name)) expect(fault).not.toContain(secret)
          }
          const told = faults.length > 0 || accountsLeftOut([config], given).length > 0
          expect([variable, told]).toEqual([variable, createProviders([config], given).size === 0])
        }
      },
    )

    test('its address is one of them, and is https in production', () => {
      if (name === 'smtp') return expect(mine).toContain('SMTP_HOST')
      const variable = `${prefix}BASE_URL`
      expect(faultsOf({ ...good, [variable]: 'ftp://127.0.0.1' })).toEqual([
        `${variable}: must be an http or https address`,
      ])
      expect(faultsOf({ ...good, [variable]: nowhere }, true)).toContain(
        `${variable}: must be https in production`,
      )
    })
  },
)
