import { afterEach, describe, expect, test } from '@jest/globals'
import type { Variables } from '../../providers/adapter'
import type { Message } from '../../providers/provider'
import { type Behaviour, type MailServer, startMailServer } from '../harness/mail-server'
import { accountAt, message, outcome, soon } from '../harness/mailer'

const open: { close: () => Promise<unknown> }[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()))
})

const serverThat = async (behaviour: Behaviour = {}): Promise<MailServer> => {
  const server = await startMailServer(behaviour)
  open.push(server)
  return server
}
const sendTo = ({ port }: { port: number }, more: Partial<Message> = {}, ms = 5_000) =>
  outcome(accountAt(port).sender.send({ ...message, ...more }, AbortSignal.timeout(ms)))

describe('the mail', () => {
  const mailOf = async (more: Partial<Message> = {}, settings: Variables = {}) => {
    const server = await serverThat()
    const sent = await accountAt(server.port, settings).sender.send({ ...message, ...more }, soon())
    const { commands, mails } = server.seen
    expect(mails).toHaveLength(1)
    return { sent, commands, mail: mails[0] ?? '' }
  }

  test('names the attempt in the return path and the message id', async () => {
    const { sent, commands, mail } = await mailOf()
    expect(sent).toMatchObject({ providerMessageId: 'att_1@example.com' })
    expect(commands.slice(1, 4)).toEqual([
      'MAIL FROM:<otp+att_1@example.com>',
      'RCPT TO:<ama@example.org>',
      'DATA',
    ])
    expect(mail).toMatch(/^From: Acme <otp@example.com>$/m)
    expect(mail).toMatch(/^To: ama@example.org$/m)
    expect(mail).toMatch(/^Message-ID: <att_1@example.com>$/m)
    expect(mail).toMatch(/^Subject: Your Acme code$/m)
    expect(mail).toMatch(/^Auto-Submitted: auto-generated$/m)
    expect(mail).toContain('Your code is 482913. =C3=89 bom.')
    expect(mail).not.toContain('text/html')
  })

  test('has a subject and a page beside the text where they are given', async () => {
    const { mail } = await mailOf({ subject: 'Votre code', html: '<p>482913</p>' })
    expect(mail).toMatch(/^Subject: Votre code$/m)
    expect(mail).toContain('multipart/alternative')
    expect(mail).toContain('<p>482913</p>')
    expect(mail.indexOf('text/plain')).toBeLessThan(mail.indexOf('text/html'))
  })

  test('a repetition has the message id of the first', async () => {
    const { mail, commands } = await mailOf({ repeats: 'att_0' })
    expect(mail).toMatch(/^Message-ID: <att_0@example.com>$/m)
    expect(commands).toContain('MAIL FROM:<otp+att_1@example.com>')
  })

  test.each([
    ['bounces@example.net', 'bounces+att_1@example.net'],
    ['plain', 'otp@example.com'],
  ])('the return path %s gives %s', async (path, expected) => {
    const { commands } = await mailOf({}, { SMTP_RETURN_PATH: path })
    expect(commands).toContain(`MAIL FROM:<${expected}>`)
  })

  test('takes no header from a brand or a subject', async () => {
    const { mail, commands } = await mailOf({ subject: 'a\r\nBcc: eve@example.org\r\n\r\nb' })
    expect(mail).not.toMatch(/^Bcc:/im)
    expect(commands.filter((command) => command.startsWith('RCPT'))).toHaveLength(1)
  })

  test('reads no file for a text', async () => {
    const { mail } = await mailOf({ text: 'file:///etc/hostname', html: '/etc/hostname' })
    expect(mail).toContain('file:///etc/hostname')
  })
})

describe('what a reply means', () => {
  test.each<[Behaviour, string]>([
    [{ GREETING: '554 5.7.1 not you' }, 'config'],
    [{ GREETING: '421 4.3.2 later' }, 'unavailable'],
    [{ MAIL: '550 5.7.1 not from you' }, 'config'],
    [{ MAIL: '530 5.7.0 log in first' }, 'config'],
    [{ MAIL: '553 5.1.8 no such sender' }, 'config'],
    [{ MAIL: '451 4.3.0 later' }, 'unavailable'],
    [{ MAIL: '421 4.7.0 too many' }, 'throttled'],
    [{ RCPT: '550 5.1.1 <ama@example.org> unknown' }, 'invalid_number'],
    [{ RCPT: '550 5.1.2 no such domain' }, 'invalid_number'],
    [{ RCPT: '550 5.1.10 null MX' }, 'invalid_number'],
    [{ RCPT: '550 5.2.1 disabled' }, 'invalid_number'],
    [{ RCPT: '550 no such user' }, 'invalid_number'],
    [{ RCPT: '551 moved' }, 'invalid_number'],
    [{ RCPT: '553 not allowed' }, 'invalid_number'],
    [{ RCPT: '556 takes no mail' }, 'invalid_number'],
    [{ RCPT: '550 5.1.7 your sender' }, 'config'],
    [{ RCPT: '550 5.7.1 spam' }, 'unroutable'],
    [{ RCPT: '552 5.2.2 full' }, 'unroutable'],
    [{ RCPT: '552 full' }, 'unroutable'],
    [{ RCPT: '554 no' }, 'unroutable'],
    [{ RCPT: '599 5.9.99 new' }, 'unroutable'],
    [{ RCPT: '450 4.7.1 greylisted' }, 'throttled'],
    [{ RCPT: '450 4.2.0 busy' }, 'unavailable'],
    [{ RCPT: '452 4.2.2 full' }, 'unavailable'],
    [{ DATA: '451 4.3.0 not now' }, 'unavailable'],
    [{ DATA: '554 5.5.1 no recipients' }, 'unroutable'],
    [{ END: '550 5.7.1 spam' }, 'unroutable'],
    [{ END: '550 5.7.26 unauthenticated' }, 'config'],
    [{ END: '550 5.7.60 not as this sender' }, 'config'],
    [{ END: '550 5.1.1 unknown' }, 'invalid_number'],
    [{ END: '552 5.3.4 too long' }, 'unroutable'],
    [{ END: '554 5.6.0 content' }, 'unroutable'],
    [{ END: '451 4.7.1 later' }, 'throttled'],
    [{ END: '452 4.3.1 no room' }, 'unavailable'],
    [{ END: '250 2.0.0 queued' }, 'accepted'],
  ])('%p: %s', async (behaviour, expected) => {
    expect(await sendTo(await serverThat(behaviour))).toBe(expected)
  })

  test('after a refusal the next mail goes out', async () => {
    const server = await serverThat({ RCPT: '550 5.1.1 unknown' })
    const { sender } = accountAt(server.port)
    expect(await outcome(sender.send(message, soon()))).toBe('invalid_number')
    server.behave({})
    expect(await outcome(sender.send({ ...message, attemptId: 'att_2' }, soon()))).toBe('accepted')
    expect(server.seen.mails).toHaveLength(1)
  })
})

describe('no reply', () => {
  test.each<[Behaviour, string]>([
    [{ GREETING: 'drop' }, 'unavailable'],
    [{ GREETING: 'hang' }, 'unavailable'],
    [{ GREETING: 'hello' }, 'unavailable'],
    [{ EHLO: 'drop' }, 'unavailable'],
    [{ EHLO: 'hang' }, 'unavailable'],
    [{ MAIL: 'drop' }, 'unavailable'],
    [{ MAIL: 'hang' }, 'unavailable'],
    [{ RCPT: 'drop' }, 'unavailable'],
    [{ RCPT: 'hang' }, 'unavailable'],
    [{ DATA: 'drop' }, 'unavailable'],
    [{ DATA: 'hang' }, 'unavailable'],
    [{ END: 'drop' }, 'in_doubt'],
    [{ END: 'hang' }, 'in_doubt'],
    [{ END: 'hello' }, 'in_doubt'],
  ])('%p: %s', async (behaviour, expected) => {
    const server = await serverThat(behaviour)
    expect(await sendTo(server, {}, 500)).toBe(expected)
    expect(server.seen.mails.length).toBe(expected === 'in_doubt' ? 1 : 0)
  })

  test('a mail in doubt is not sent again by the pool', async () => {
    const server = await serverThat({ END: 'drop' })
    expect(await sendTo(server)).toBe('in_doubt')
    // The pool would send it again as soon as it has a connection; there is nothing that comes after that.
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(server.seen.mails).toHaveLength(1)
  })

  test('nobody listens: nothing was sent', async () => {
    const { port, close } = await startMailServer()
    await close()
    expect(await sendTo({ port })).toBe('unavailable')
  })

  test('given up before it began: nothing was sent, now or later', async () => {
    const server = await serverThat()
    const { sender } = accountAt(server.port)
    expect(await outcome(sender.send(message, AbortSignal.abort()))).toBe('unavailable')
    expect(server.seen.commands).toEqual([])
    expect(await outcome(sender.send({ ...message, attemptId: 'att_2' }, soon()))).toBe('accepted')
    expect(server.seen.mails).toHaveLength(1)
  })

  test('a connection that the server closed while it was idle is replaced', async () => {
    const server = await serverThat()
    const { sender } = accountAt(server.port)
    expect(await outcome(sender.send(message, soon()))).toBe('accepted')
    server.hangUp()
    expect(await outcome(sender.send({ ...message, attemptId: 'att_2' }, soon()))).toBe('accepted')
    expect(server.seen.mails).toHaveLength(2)
  })

  test('a claim that grew old before the mail began: not a byte of it', async () => {
    const server = await serverThat()
    expect(await sendTo(server, { notAfter: performance.now() - 1 })).toBe('stale')
    expect(server.seen.mails).toEqual([])
    expect(await sendTo(server, { notAfter: performance.now() + 5_000 })).toBe('accepted')
    expect(server.seen.mails).toHaveLength(1)
  })

  test('a claim that grows old while the server thinks: not a byte of it', async () => {
    const server = await serverThat({ DATA: 'hang' })
    const { port } = server
    const sending = sendTo({ port }, { notAfter: performance.now() + 100 }, 400)
    expect(await sending).toBe('unavailable')
    expect(server.seen.mails).toEqual([])
  })
})

describe('pings', () => {
  test('say nothing of a server that works', async () => {
    const server = await serverThat()
    await accountAt(server.port).pinger?.ping(soon())
    expect(server.seen.commands.join()).not.toContain('MAIL')
  })

  test('fault a server that is gone or silent', async () => {
    const silent = await serverThat({ GREETING: 'hang' })
    const ping = accountAt(silent.port).pinger?.ping(AbortSignal.timeout(300))
    await expect(ping).rejects.toMatchObject({ fault: 'unavailable' })
    await silent.close()
    await expect(accountAt(silent.port).pinger?.ping(soon())).rejects.toMatchObject({
      fault: 'unavailable',
    })
  })
})
