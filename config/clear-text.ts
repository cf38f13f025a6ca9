import ipaddr from 'ipaddr.js'
import pg from 'pg'
import type { Variables } from '../providers/adapter'

const postgresVariables = [
  'DATABASE_URL',
  'MIGRATION_DATABASE_URL',
  'SUPERUSER_DATABASE_URL',
] as const
export type PostgresVariable = (typeof postgresVariables)[number]

/** What production is told about what leaves this machine readable, or goes to whoever answers first. */
export function clearTextFaults(
  env: Variables,
  temporal: { address: string; tls?: unknown } | undefined,
): string[] {
  // What is no address at all is told elsewhere.
  const ofPostgres = postgresVariables
    .filter((name) => URL.canParse(env[name] ?? ''))
    .map((name) => postgresFault(name, env[name] ?? '', env))
  return [
    ...ofPostgres,
    temporal && temporalFault(temporal, env),
    env.NODE_TLS_REJECT_UNAUTHORIZED === '0'
      ? 'NODE_TLS_REJECT_UNAUTHORIZED: must not be 0 in production: no certificate would be checked (NODE_EXTRA_CA_CERTS adds a certificate authority of your own)'
      : undefined,
  ].filter((fault) => fault !== undefined)
}

/**
 * Whether connections to this Postgres may be read or answered by others on the way. The driver itself is asked what it
 * would do: a URL's host may stand in its query, and more than one mode ends in a certificate that is not checked.
 * @returns a sentence that names the variable and no value; undefined: nothing is wrong
 */
function postgresFault(name: PostgresVariable, url: string, env: Variables): string | undefined {
  if (env.OTPILOT_PLAIN_POSTGRES === 'allow') return undefined
  const given = URL.parse(url)?.searchParams.getAll('sslmode') ?? []
  const modes = given.length > 0 ? given : [env.PGSSLMODE]
  let driver: { host: string; ssl?: unknown }
  try {
    driver = new pg.Client({ connectionString: url, ssl: env.PGSSLMODE === 'verify-full' })
  } catch {
    return `${name}: the driver cannot use it, or a certificate file that it names`
  }
  const { host } = driver
  if (host.startsWith('/') || isLoopback(host)) return undefined
  if (modes.every((mode) => mode === 'verify-full') && checksCertificate(driver.ssl))
    return undefined
  return `${name}: must have sslmode=verify-full in production where Postgres is on another machine (OTPILOT_PLAIN_POSTGRES=allow lifts this)`
}

const checksCertificate = (ssl: unknown): boolean =>
  ssl === true ||
  (typeof ssl === 'object' &&
    ssl !== null &&
    !('checkServerIdentity' in ssl) &&
    !('rejectUnauthorized' in ssl && ssl.rejectUnauthorized === false))

function temporalFault(
  { address, tls }: { address: string; tls?: unknown },
  env: Variables,
): string | undefined {
  const host = address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  if (tls || isLoopback(host) || env.OTPILOT_PLAIN_TEMPORAL === 'allow') return undefined
  return 'TEMPORAL_ADDRESS: must be reached by TLS in production where Temporal is on another machine: TEMPORAL_TLS=true, TEMPORAL_TLS_… or TEMPORAL_API_KEY (OTPILOT_PLAIN_TEMPORAL=allow lifts this)'
}

/** This machine by name or number. Other spellings, such as 127.1, are for resolvers to read, so they do not count. */
function isLoopback(host: string): boolean {
  if (host.toLowerCase() === 'localhost') return true
  const isNumber = ipaddr.IPv4.isValidFourPartDecimal(host) || ipaddr.IPv6.isValid(host)
  return isNumber && ipaddr.process(host).range() === 'loopback'
}

/**
 * For a program that needs Postgres alone.
 * @throws in production, where a connection to it could be read on the way
 */
export function assertEncrypted(name: PostgresVariable, url: string, env: Variables): string {
  const isProduction = (env.OTPILOT_ENV || 'production') === 'production'
  const fault = isProduction ? postgresFault(name, url, env) : undefined
  if (fault) throw new Error(`${fault}. OTPILOT_ENV=development lifts it too.`)
  return url
}
