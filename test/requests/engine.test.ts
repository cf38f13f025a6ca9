import { createServer, type Socket } from 'node:net'
import { expect, test } from '@jest/globals'
import pino from 'pino'
import { createEngine } from '../../temporal'
import type { Queries } from '../../db'
import { until } from '../harness/client'

test('closing waits for calls under way, whatever Temporal does with them', async () => {
  // Takes connections and never says a word, as a server does that is being stopped.
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket))
  silent.listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  const place = silent.address()
  if (place === null || typeof place === 'string') throw new Error('no port')
  const unused: Queries = {
    many: () => Promise.reject(new Error('not asked')),
    one: () => Promise.reject(new Error('not asked')),
  }
  const engine = createEngine({
    connection: { address: `127.0.0.1:${place.port}` },
    namespace: 'default',
    taskQueue: 'none',
    db: unused,
    log: pino({ level: 'silent' }),
  })
  let woken = false
  // As after a check: nobody waits for it.
  void engine
    .wake({ requestId: 'otp_x', dueAt: new Date(), signal: 'verified' })
    .then(() => (woken = true))
  await until(async () => sockets.length > 0, { what: 'the call of Temporal' })
  await engine.close()
  expect(woken).toBe(true)
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => silent.close(resolve))
})
