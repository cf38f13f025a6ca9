import { connect, createServer, type Socket } from 'node:net'
import { listen } from './listening'
import { createTrap, type Tripwire } from './tripwire'

/** `before`: the statement never reaches Postgres. `after`: it is decided, and nobody has heard of it. */
export type StatementMoment = 'before' | 'after'

/** Messages that a driver sends together and ends with a Sync. */
const grouped = new Set(['P', 'B', 'D', 'E', 'C'])
const readyForQuery = 'Z'

/** Cuts a byte stream of Postgres's protocol into its messages. */
class Messages {
  private rest = Buffer.alloc(0)
  constructor(private started: boolean) {}

  *read(chunk: Buffer): Generator<{ type: string; bytes: Buffer }> {
    this.rest = Buffer.concat([this.rest, chunk])
    for (;;) {
      // The first message of a client is the only one without a type.
      const head = this.started ? 1 : 0
      if (this.rest.length < head + 4) return
      const length = head + this.rest.readInt32BE(head)
      if (this.rest.length < length) return
      const bytes = this.rest.subarray(0, length)
      this.rest = this.rest.subarray(length)
      const type = this.started ? String.fromCharCode(bytes[0] ?? 0) : 'startup'
      this.started = true
      yield { type, bytes }
    }
  }
}

/** What a message of type P prepares: a name, empty for a statement that is used once, and its text. */
function preparedBy(bytes: Buffer): { name: string; text: string } {
  const [name = '', text = ''] = bytes.subarray(5).toString('latin1').split('\0', 2)
  return { name, text }
}

/** The name that a message of type B binds values to, behind that of its portal. */
const boundBy = (bytes: Buffer): string =>
  bytes.subarray(5).toString('latin1').split('\0', 2)[1] ?? ''

/** Remembers the texts that a connection has prepared: from the second time on only their names are on the wire. */
function createTexts() {
  const texts = new Map<string, string>()
  return {
    /** What a group of messages runs, as far as it does not say so itself. */
    behind(group: readonly Buffer[]): string {
      const known: string[] = []
      for (const bytes of group) {
        const type = String.fromCharCode(bytes[0] ?? 0)
        if (type === 'B') known.push(texts.get(boundBy(bytes)) ?? '')
        if (type !== 'P') continue
        const { name, text } = preparedBy(bytes)
        if (name !== '') texts.set(name, text)
      }
      return known.join('')
    },
  }
}

/**
 * Stands between one of our processes and Postgres. It knows statements by their text, prepared ones too, so that faults can be
 * placed around one without the process knowing, and it can play a Postgres that is down or frozen.
 */
export async function createPostgresProxy(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const trap = createTrap<StatementMoment>()
  const sockets = new Set<Socket>()
  let mode: 'open' | 'down' | 'frozen' = 'open'

  const server = createServer((client) => {
    if (mode === 'down') {
      client.destroy()
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        cut()
      })
      if (mode === 'frozen') socket.pause()
    }
    const cut = () => {
      client.destroy()
      upstream.destroy()
    }
    relay(client, upstream, { trap, cut })
  })
  const address = await listen(server)
  const url = new URL(databaseUrl)
  url.host = new URL(address).host

  const dropAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.href,
    arm: (wire: Tripwire<StatementMoment>) => trap.arm(wire),
    /** Connections break, and new ones break too. */
    down() {
      mode = 'down'
      dropAll()
    },
    /** Connections stay, and nothing moves on them. */
    freeze() {
      mode = 'frozen'
      for (const socket of sockets) socket.pause()
    },
    open() {
      if (mode === 'frozen') dropAll()
      mode = 'open'
    },
    async close() {
      dropAll()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function relay(
  client: Socket,
  upstream: Socket,
  { trap, cut }: { trap: ReturnType<typeof createTrap<StatementMoment>>; cut: () => void },
): void {
  const sent = new Messages(false)
  const texts = createTexts()
  let group: Buffer[] = []
  /** Set while the answer to a statement that trips afterwards is on its way. */
  let awaited: { answer: Messages; tripped: () => void } | undefined

  client.on('data', (chunk: Buffer) => {
    for (const { type, bytes } of sent.read(chunk)) {
      group.push(bytes)
      if (grouped.has(type)) continue
      const whole = Buffer.concat(group)
      const wire = trap.take(`${texts.behind(group)}${whole.toString('latin1')}`)
      group = []
      const finish = () => {
        wire?.trip()
        if (!wire?.passOn) cut()
      }
      if (wire?.moment === 'before') finish()
      if (wire?.moment === 'after') awaited = { answer: new Messages(true), tripped: finish }
      if (client.destroyed) return
      upstream.write(whole)
    }
  })
  upstream.on('data', (chunk: Buffer) => {
    if (awaited) {
      const { answer, tripped } = awaited
      for (const { type } of answer.read(chunk)) {
        if (type !== readyForQuery) continue
        awaited = undefined
        tripped()
      }
    }
    if (!client.destroyed && !awaited) client.write(chunk)
  })
}
