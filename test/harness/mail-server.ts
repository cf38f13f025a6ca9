import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

/** When the server says something; `END` is the dot after a mail. */
export type Moment = 'GREETING' | 'EHLO' | 'STARTTLS' | 'AUTH' | 'MAIL' | 'RCPT' | 'DATA' | 'END'
/** A reply; or `drop`, the connection is cut, or `hang`, nothing ever comes. */
export type Behaviour = Partial<Record<Moment, string>>

const usual: Record<string, string> = {
  GREETING: '220 mail.test',
  EHLO: '250 mail.test',
  DATA: '354 go on',
  QUIT: '221 bye',
}

/** A mail server that says at each moment what it is told to, and keeps what it was given before. */
export async function startMailServer(behaviour: Behaviour = {}) {
  const seen = { connections: 0, commands: [] as string[], mails: [] as string[] }
  const sockets = new Set<Socket>()
  let plan = behaviour
  const server = createServer((socket) => {
    seen.connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
    let mail: string[] | undefined
    const say = (moment: string) => {
      const reply = plan[moment as Moment] ?? usual[moment] ?? '250 OK'
      if (reply === 'drop') socket.destroy()
      else if (reply !== 'hang') socket.write(`${reply}\r\n`)
      if (moment === 'DATA' && reply.startsWith('3')) mail = []
    }
    const take = (line: string) => {
      if (mail && line !== '.') return void mail.push(line)
      if (mail) {
        seen.mails.push(mail.join('\r\n'))
        mail = undefined
        return say('END')
      }
      seen.commands.push(line)
      say(line.split(/[ :]/)[0]?.toUpperCase() ?? '')
    }
    let rest = ''
    socket.on('data', (chunk) => {
      const lines = (rest + chunk.toString('utf8')).split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) take(line)
    })
    say('GREETING')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    behave: (next: Behaviour) => {
      plan = next
    },
    /** As a server that found its clients idle for too long. */
    hangUp: () => {
      for (const socket of sockets) socket.end()
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
export type MailServer = Awaited<ReturnType<typeof startMailServer>>
