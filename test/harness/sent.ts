import type pg from 'pg'

/** A statement as it went to the driver; `name` where it is prepared under one. */
export interface Sent {
  name: string | undefined
  text: string
  /** By `performance.now()`. */
  at: number
}

/** Notes every statement that a pool's connections send from now on, those of transactions too. */
export function noteSent(pool: pg.Pool): Sent[] {
  const sent: Sent[] = []
  const watched = new WeakSet<pg.PoolClient>()
  pool.on('acquire', (client) => {
    if (watched.has(client)) return
    watched.add(client)
    const query = client.query.bind(client) as (...given: unknown[]) => unknown
    const noted = (...given: unknown[]) => {
      const [first] = given
      const { name, text } = typeof first === 'string' ? { text: first } : (first as pg.QueryConfig)
      sent.push({ name, text, at: performance.now() })
      return query(...given)
    }
    client.query = noted as typeof client.query
  })
  return sent
}
