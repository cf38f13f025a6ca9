import { Client, Connection } from '@temporalio/client'
import { Client as Postgres } from 'pg'
import { temporalAddress } from './database'

/** Where a secret may not be: one text per place. */
export interface Place {
  name: string
  text: string
}

/** Every way a text may hide: as it is, and inside base64 or hex. */
function decodedForms(text: string): string[] {
  const forms = [text]
  for (const [found] of text.matchAll(/[A-Za-z0-9+/]{12,}={0,2}/g)) {
    forms.push(Buffer.from(found, 'base64').toString('latin1'))
  }
  for (const [found] of text.matchAll(/(?:[0-9a-f]{2}){8,}/gi)) {
    forms.push(Buffer.from(found, 'hex').toString('latin1'))
  }
  return forms
}

/** The places that hold one of the secrets, in clear or merely encoded. */
export function findLeaks(places: readonly Place[], secrets: readonly string[]): string[] {
  return places.flatMap(({ name, text }) => {
    const forms = decodedForms(text)
    return secrets.filter((secret) => forms.some((form) => form.includes(secret))).map(() => name)
  })
}

/** Every row of every table, each column as text; binary as hex and as latin1. */
export async function dumpPostgres(url: string): Promise<Place[]> {
  const client = new Postgres({ connectionString: url })
  await client.connect()
  try {
    const { rows: tables } = await client.query<{ table: string }>(
      `select table_schema || '.' || quote_ident(table_name) as table from information_schema.tables
       where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'`,
    )
    const places: Place[] = []
    for (const { table } of tables) {
      const { rows } = await client.query<Record<string, unknown>>(`select * from ${table}`)
      for (const row of rows) {
        for (const [column, value] of Object.entries(row)) {
          const text = Buffer.isBuffer(value)
            ? `${value.toString('hex')} ${value.toString('latin1')}`
            : JSON.stringify(value)
          places.push({ name: `${table}.${column}`, text })
        }
      }
    }
    return places
  } finally {
    await client.end()
  }
}

/** Histories and visibility of the runs given: everything a person with Temporal UI can read. */
export async function dumpTemporal(workflowIds: readonly string[]): Promise<Place[]> {
  const connection = await Connection.connect({ address: temporalAddress() })
  try {
    const client = new Client({ connection })
    const places: Place[] = []
    for (const id of workflowIds) {
      const handle = client.workflow.getHandle(id)
      const history = await handle.fetchHistory()
      const text = JSON.stringify(history, (_key, value: unknown) =>
        value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
      )
      places.push({ name: `history ${id}`, text })
      const { raw } = await handle.describe()
      places.push({
        name: `visibility ${id}`,
        text: JSON.stringify(raw, (_key, value: unknown) =>
          value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
        ),
      })
    }
    return places
  } finally {
    await connection.close()
  }
}

/** How many events a run's history has. */
export async function eventCount(workflowId: string): Promise<number> {
  const connection = await Connection.connect({ address: temporalAddress() })
  try {
    const history = await new Client({ connection }).workflow.getHandle(workflowId).fetchHistory()
    return history.events?.length ?? 0
  } finally {
    await connection.close()
  }
}
