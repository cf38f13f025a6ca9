import pg from 'pg'
import { handOverTo, isSeparated, roles, scramVerifier } from './roles'

const connectionTimeoutMillis = 5_000

/** What a Temporal server is given in a cluster that also holds the codes' requests. */
export const temporalNames = {
  role: 'temporal',
  databases: ['temporal', 'temporal_visibility'],
}

/**
 * Gives Temporal a role and databases of its own, so that whoever takes over its server reads and changes no request,
 * recipient or audit row. Databases that a superuser made for it before are handed over with all that is in them. Run
 * by a superuser after {@link separateRoles}, as often as one likes; Temporal's own tool then makes its tables.
 */
export async function makeTemporalRole(
  superuserUrl: string,
  password: string,
  { role, databases } = temporalNames,
): Promise<void> {
  await withClient(superuserUrl, async (client) => {
    await makeRole(client, role, password)
    for (const name of databases) await makeDatabase(client, name, role)
    if (await isSeparated(client)) await keepOut(client)
  })
  for (const name of databases) {
    const url = new URL(superuserUrl)
    url.pathname = `/${name}`
    await withClient(url.href, (client) => takeOver(client, role))
  }
}

async function withClient(
  connectionString: string,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis, lock_timeout: 10_000 })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

async function makeRole(client: pg.Client, role: string, password: string): Promise<void> {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role])
  const name = client.escapeIdentifier(role)
  if (rowCount === 0) await client.query(`create role ${name}`)
  await client.query(
    `alter role ${name} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls
      password ${client.escapeLiteral(scramVerifier(password))}`,
  )
}

async function makeDatabase(client: pg.Client, database: string, owner: string): Promise<void> {
  const { rowCount } = await client.query('select from pg_database where datname = $1', [database])
  const name = client.escapeIdentifier(database)
  const role = client.escapeIdentifier(owner)
  if (rowCount === 0) await client.query(`create database ${name} owner ${role}`)
  await client.query(`alter database ${name} owner to ${role}`)
  await client.query(`revoke connect, temporary on database ${name} from public`)
}

/** From otpilot's own database: then only roles that are named may connect to it. */
async function keepOut(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>('select current_database() as name')
  const database = client.escapeIdentifier(rows[0]?.name ?? '')
  await client.query(`grant connect on database ${database} to ${Object.values(roles).join(', ')}`)
  await client.query(`revoke connect on database ${database} from public`)
}

async function takeOver(client: pg.Client, role: string): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(handOverTo(role))
  await client.query('begin')
  for (const { statement } of rows) await client.query(statement)
  await client.query('commit')
}
