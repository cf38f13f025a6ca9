import { randomUUID } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { Router } from 'express'
import { readMail } from './mail'
import type { Playing, Vendor, VendorParts } from './vendor'

/** Mail has a port of its own: this far from the sandbox's. */
const portStep = 1_000
const lastPort = 65_535
const maxMailLength = 1_000_000
const maxLineLength = 1_000

/** Plays a mail server; the sandbox listens on FAKE_PORT where that is set. No encryption, no password. */
export const smtp: Vendor = {
  name: 'smtp',
  settings(base) {
    const { hostname, port } = new URL(base)
    const above = Number(port || 80) + portStep
    const mailPort = String(above > lastPort ? above - 2 * portStep : above)
    return {
      ...{ HOST: hostname, PORT: mailPort, TLS: 'off', FROM: 'Acme <otp@example.com>' },
      FAKE_PORT: mailPort,
    }
  },
  routes: () => Router(),
  listen(parts) {
    const port = parts.settings['FAKE_PORT']
    if (port === undefined) return undefined
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
      new Session(socket, parts).greet()
    })
    return {
      ready: listening(server, Number(port)),
      async close() {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
}

const listening = (server: Server, port: number) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', ({ message }) => {
      const why = `The sandbox cannot take mail on port ${port}: ${message}.`
      reject(new Error(`${why} Set SMTP_PORT and SMTP_FAKE_PORT to a free one.`))
    })
    server.listen(port, '127.0.0.1', resolve)
  })

const address = /^[^:]+:\s*<([^<>\s]*)>/
const isAddress = (text: string | undefined): text is string =>
  text !== undefined && /^[^@\s]+@[^@\s]+$/.test(text)

/** One connection of RFC 5321, strict about the order of its commands. */
class Session {
  private rest = ''
  private sender: string | undefined
  private recipient: string | undefined
  private mail: string[] | undefined
  private length = 0

  constructor(
    private readonly socket: Socket,
    private readonly parts: VendorParts,
  ) {
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => this.read(chunk))
  }

  greet() {
    this.say('220 sandbox ESMTP')
  }

  private say(reply: string) {
    if (!this.socket.destroyed) this.socket.write(`${reply}\r\n`)
  }

  private read(chunk: string) {
    const lines = (this.rest + chunk).split('\r\n')
    this.rest = lines.pop() ?? ''
    for (const line of lines) this.take(line)
    this.length += chunk.length
    const tooLong = this.mail ? this.length > maxMailLength : this.rest.length > maxLineLength
    if (tooLong) this.socket.destroy()
  }

  private take(line: string) {
    if (!this.mail) return this.obey(line)
    // Every line that begins with a dot was given another one.
    if (line !== '.') return void this.mail.push(line.replace(/^\./, ''))
    const source = this.mail.join('\r\n')
    this.mail = undefined
    const { recipient = '' } = this
    this.reset()
    void this.play(recipient, source)
  }

  private obey(line: string) {
    const verb = /^[A-Z]*/i.exec(line)?.[0].toUpperCase() ?? ''
    const given = address.exec(line)?.[1]
    if (verb === 'EHLO') return this.say('250-sandbox\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES')
    if (verb === 'HELO' || verb === 'NOOP') return this.say('250 sandbox')
    if (verb === 'RSET') {
      this.reset()
      return this.say('250 2.0.0 OK')
    }
    if (verb === 'QUIT') {
      this.say('221 2.0.0 Bye')
      return void this.socket.end()
    }
    if (verb === 'MAIL') return this.takeSender(given)
    if (verb === 'RCPT') return this.takeRecipient(given)
    if (verb === 'DATA') return this.takeData()
    this.say('502 5.5.1 Not implemented')
  }

  private takeSender(given: string | undefined) {
    if (this.sender !== undefined) return this.say('503 5.5.1 One sender')
    if (!isAddress(given)) return this.say('501 5.1.7 A sender is needed')
    this.sender = given
    this.say('250 2.1.0 OK')
  }

  private takeRecipient(given: string | undefined) {
    if (this.sender === undefined) return this.say('503 5.5.1 The sender first')
    if (!isAddress(given)) return this.say('501 5.1.3 No address')
    this.recipient = given
    this.say('250 2.1.5 OK')
  }

  private takeData() {
    if (this.recipient === undefined) return this.say('503 5.5.1 A recipient first')
    this.mail = []
    this.length = 0
    this.say('354 Go on')
  }

  private reset() {
    this.sender = undefined
    this.recipient = undefined
  }

  private async play(to: string, source: string): Promise<void> {
    const { subject, text } = readMail(source)
    const message = { provider: 'smtp', channel: 'email', to: to.toLowerCase() } as const
    const playing: Playing<Socket> = {
      id: `mail_${randomUUID()}`,
      accept: () => this.say('250 2.0.0 Queued'),
      refuse: (_socket, { status, errorCode }) => this.say(refusalOf(status, errorCode)),
    }
    await this.parts.play(this.socket, { ...message, text: `${subject}\n${text}` }, playing)
  }
}

function refusalOf(status: number, errorCode: string): string {
  if (errorCode === 'INVALID_NUMBER') return '550 5.1.1 No such mailbox'
  if (errorCode === 'BLOCKED') return '550 5.7.1 Refused'
  return status === 429 ? '451 4.7.1 Too many' : '451 4.3.0 Not now'
}
