import type { AddressInfo } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { SMTPServer } from 'smtp-server'
import { accountsLeftOut, settingsFaults } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { selfSigned } from '../harness/certificate'
import { startMailServer } from '../harness/mail-server'
import { accountAt, config, message, outcome, soon } from '../harness/mailer'

const open: { close: () => Promise<unknown> }[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()))
})

describe('encryption and passwords', () => {
  const { cert, key } = selfSigned()
  const before = getCACertificates('default')
  beforeAll(() => setDefaultCACertificates([...before, cert]))
  afterAll(() => setDefaultCACertificates(before))

  const encrypted = async (secure: boolean, certificate = { cert, key }) => {
    const mails: { text: string; user: unknown; secure: boolean }[] = []
    const server = new SMTPServer({
      ...certificate,
      secure,
      disableReverseLookup: true,
      closeTimeout: 1,
      onAuth: ({ username, password }, _session, done) =>
        username === 'otpilot' && password === 'a-password'
          ? done(null, { user: username })
          : done(new Error('no')),
      onData: (stream, session, done) => {
        let text = ''
        stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
        stream.on('end', () => {
          mails.push({ text, user: session.user, secure: session.secure })
          done()
        })
      },
    })
    server.on('error', () => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    open.push({ close: () => new Promise<void>((resolve) => server.close(() => resolve())) })
    return { mails, port: (server.server.address() as AddressInfo).port }
  }
  const login = { SMTP_USER: 'otpilot', SMTP_PASSWORD: 'a-password' }

  test.each([
    ['starttls', false],
    ['implicit', true],
  ])('%s, logged in', async (tls, secure) => {
    const { port, mails } = await encrypted(secure)
    const account = accountAt(port, { ...login, SMTP_TLS: tls })
    expect(await outcome(account.sender.send(message, soon()))).toBe('accepted')
    expect(mails).toMatchObject([{ user: 'otpilot', secure: true }])
    expect(mails[0]?.text).toContain('482913')
    await account.pinger?.ping(soon())
  })

  test('a wrong password is the account’s fault, for mails and for pings', async () => {
    const { port } = await encrypted(false)
    const account = accountAt(port, { ...login, SMTP_PASSWORD: 'b-password', SMTP_TLS: 'starttls' })
    expect(await outcome(account.sender.send(message, soon()))).toBe('config')
    await expect(account.pinger?.ping(soon())).rejects.toMatchObject({ fault: 'config' })
  })

  test.each([
    ['starttls', false],
    ['implicit', true],
  ])('%s with a certificate that nobody vouches for: nothing is sent', async (tls, secure) => {
    const { port, mails } = await encrypted(secure, selfSigned({ serial: 2 }))
    const account = accountAt(port, { ...login, SMTP_TLS: tls })
    expect(await outcome(account.sender.send(message, soon()))).toBe('config')
    expect(mails).toEqual([])
  })

  test('a server without STARTTLS gets no mail and no password', async () => {
    const server = await startMailServer({ STARTTLS: '502 no' })
    open.push(server)
    const account = accountAt(server.port, { ...login, SMTP_TLS: 'starttls' })
    expect(await outcome(account.sender.send(message, soon()))).toBe('config')
    expect(server.seen.commands.join()).not.toMatch(/AUTH|MAIL/)
  })
})

describe('settings', () => {
  const needed = { SMTP_HOST: 'mail.example.com', SMTP_FROM: 'otp@example.com' }
  const faultsOf = (given: Variables) => settingsFaults([config], given, { isProduction: true })

  test.each<[Variables, string]>([
    [{ SMTP_PORT: '0' }, 'SMTP_PORT: must be a port'],
    [{ SMTP_PORT: 'x' }, 'SMTP_PORT: must be a port'],
    [{ SMTP_HOST: 'a host' }, 'SMTP_HOST: must be a host name or an address'],
    [
      { SMTP_FROM: 'Acme' },
      'SMTP_FROM: must be an e-mail address, or a name and an address in < >',
    ],
    [{ SMTP_RETURN_PATH: 'x' }, 'SMTP_RETURN_PATH: must be an e-mail address, or plain'],
    [
      { SMTP_TLS: 'off', SMTP_USER: 'u', SMTP_PASSWORD: 'p' },
      'SMTP_TLS: must not be off where a password crosses a network',
    ],
  ])('%p is told as a sentence', (given, expected) => {
    expect(faultsOf({ ...needed, ...given })).toEqual([expected])
  })

  test('a user needs a password', () => {
    expect(accountsLeftOut([config], { ...needed, SMTP_USER: 'u' })).toEqual([
      {
        account: 'smtp',
        reason: 'Provider account "smtp" is off: SMTP_PASSWORD is not set.',
        begun: true,
      },
    ])
  })
})
