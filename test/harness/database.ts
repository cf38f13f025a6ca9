import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { roles } from '../../db/setup/roles'
import { asService, templateDatabase } from './template-database'

const required = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run the tests with "npm test" or jest.`)
  return value
}

/** The address of the test run's own Temporal server; its namespace is `default`. */
export const temporalAddress = (): string => required('OTPILOT_TEST_TEMPORAL_ADDRESS')

const withAdmin = async (run: (client: Client) => Promise<unknown>): Promise<void> => {
  const client = new Client({ connectionString: required('OTPILOT_TEST_DATABASE_URL') })
  await client.connect()
  try {
    await run(client)
  } finally {
    await client.end()
  }
}

export interface FreshDatabase {
  /** Of the service's role, which may do what the service does and no more. */
  url: string
  /** Of a superuser: for attacks, and for what no service does. */
  adminUrl: string
  /** Throws out whoever is still connected. */
  drop: () => Promise<void>
}

/** A migrated database of its own for one test file. */
export const freshDatabase = async (): Promise<FreshDatabase> => {
  const name = `test_${randomBytes(6).toString('hex')}`
  // Two files may clone at the same time, which Postgres refuses while either looks at the template.
  await withAdmin(async (client) => {
    await client.query('select pg_advisory_lock(1)')
    await client.query(`create database ${name} template ${templateDatabase} owner ${roles.owner}`)
  })
  const url = new URL(required('OTPILOT_TEST_DATABASE_URL'))
  url.pathname = `/${name}`
  const drop = () => withAdmin((client) => client.query(`drop database ${name} with (force)`))
  return { url: asService(url.href), adminUrl: url.href, drop }
}

/** What no role of the service may do: attacks, and clearing away. */
export const asSuperuser = async (
  adminUrl: string,
  statements: readonly string[],
): Promise<void> => {
  const client = new Client({ connectionString: adminUrl })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
