import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const headerBytes = 12
const typeA = 1

/** A name server that knows IPv4 addresses of names, or answers nobody (`undefined`). */
export async function startNameServer(addressesOf: (name: string) => string[] | undefined) {
  const socket = createSocket('udp4')
  socket.on('message', (query, { port, address }) => {
    const { name, end } = questionOf(query)
    const known = addressesOf(name)
    if (!known) return
    const isA = query.readUInt16BE(end - 4) === typeA
    socket.send(answerTo(query.subarray(0, end), isA ? known : []), port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    address: `127.0.0.1:${socket.address().port}`,
    close: () => new Promise<void>((resolve) => socket.close(() => resolve())),
  }
}

/** The name asked for, and where type and class behind it end. */
function questionOf(query: Buffer) {
  const labels: string[] = []
  let at = headerBytes
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('ascii', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.'), end: at + 5 }
}

function answerTo(question: Buffer, addresses: string[]): Buffer {
  const head = Buffer.from(question)
  head.writeUInt16BE(0x8180, 2)
  head.writeUInt16BE(addresses.length, 6)
  // Whatever the query brought along beside its question is not answered.
  head.writeUInt16BE(0, 10)
  const records = addresses.map((address) =>
    // The name of the question, A, IN, kept for a second, four bytes.
    Buffer.from([
      0xc0,
      headerBytes,
      0,
      1,
      0,
      1,
      0,
      0,
      0,
      1,
      0,
      4,
      ...address.split('.').map(Number),
    ]),
  )
  return Buffer.concat([head, ...records])
}
