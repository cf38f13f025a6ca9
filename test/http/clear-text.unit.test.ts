import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { tmpdir } from 'node:os'
import { describe, expect, test } from '@jest/globals'
import { readConfig } from '../../config'
import { assertEncrypted } from '../../config/clear-text'
import { productionWarnings } from '../../config/warnings'

const root = resolve(__dirname, '..', '..')

const production = {
  OTPILOT_ENV: 'production',
  OTPILOT_URL: 'https://otp.example',
  OTPILOT_KEYS_FILE: '/etc/otpilot/keys.json',
  OTPILOT_TRUST_PROXY: '1',
  DATABASE_URL: 'postgresql://u:hidden@127.0.0.1/o',
  TEMPORAL_ADDRESS: '127.0.0.1:7233',
}

/** Names of the variables that the configuration is refused for. */
function faultsOf(env: Record<string, string>): string[] {
  try {
    readConfig({ ...production, ...env }, { serves: true })
    return []
  } catch (error) {
    const { message } = error as Error
    expect(message).not.toContain('hidden')
    return [...message.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, name = '']) => name)
  }
}

describe('Postgres, in production', () => {
  test.each([
    ['this machine', 'postgresql://u:hidden@127.0.0.1/o'],
    ['another address of this machine', 'postgresql://u:hidden@127.8.9.1:5433/o'],
    ['its name', 'postgresql://u:hidden@LocalHost/o'],
    ['IPv6', 'postgres://u:hidden@[::1]:5432/o'],
    ['IPv4 in IPv6', 'postgres://u:hidden@[::ffff:127.0.0.1]/o'],
    ['a socket in the query', 'postgresql://u:hidden@localhost/o?host=/var/run/postgresql'],
    ['a socket that overrides a host', 'postgresql://u:hidden@db.example/o?host=/tmp'],
    ['a socket as the host', 'postgresql://%2Fvar%2Frun%2Fpostgresql/o'],
    ['a certificate that is checked', 'postgresql://u:hidden@db.example/o?sslmode=verify-full'],
    ['the same by libpq', 'postgresql://u@db.example/o?uselibpqcompat=true&sslmode=verify-full'],
  ])('is taken: %s', (_name, DATABASE_URL) => {
    expect(faultsOf({ DATABASE_URL })).toEqual([])
  })

  test.each([
    ['nothing said', 'postgresql://u:hidden@db.internal.example/o'],
    ['a private network', 'postgresql://u:hidden@10.0.0.5/o'],
    ['disable', 'postgresql://u:hidden@db.example/o?sslmode=disable'],
    ['prefer', 'postgresql://u:hidden@db.example/o?sslmode=prefer'],
    [
      'require, which checks nothing elsewhere',
      'postgresql://u:hidden@db.example/o?sslmode=require',
    ],
    ['require by libpq', 'postgresql://u@db.example/o?uselibpqcompat=true&sslmode=require'],
    ['verify-ca', 'postgresql://u:hidden@db.example/o?sslmode=verify-ca'],
    ['no-verify', 'postgresql://u:hidden@db.example/o?sslmode=no-verify'],
    ['ssl=true', 'postgresql://u:hidden@db.example/o?ssl=true'],
    ['ssl=no-verify', 'postgresql://u:hidden@db.example/o?ssl=no-verify'],
    ['the mode twice', 'postgresql://u@db.example/o?sslmode=verify-full&sslmode=disable'],
    ['the mode twice, turned', 'postgresql://u@db.example/o?sslmode=disable&sslmode=verify-full'],
    ['another host in the query', 'postgresql://u:hidden@127.0.0.1/o?host=db.example'],
    ['two hosts, one of them here', 'postgresql://u:hidden@127.0.0.1,db.example/o'],
    ['a name that begins like an address', 'postgresql://u:hidden@127.0.0.1.example/o'],
    ['a short address', 'postgresql://u:hidden@127.1/o'],
    ['every address', 'postgresql://u:hidden@0.0.0.0/o'],
    ['a name that ends like ours', 'postgresql://u:hidden@db.localhost/o'],
    ['a file that is not there', 'postgresql://u@db.example/o?sslmode=verify-full&sslrootcert=/no'],
  ])('is refused: %s', (_name, DATABASE_URL) => {
    expect(faultsOf({ DATABASE_URL })).toEqual(['DATABASE_URL'])
    expect(faultsOf({ DATABASE_URL, OTPILOT_ENV: 'development' })).toEqual([])
  })

  test('an address that only the driver can read is refused by commands', () => {
    for (const url of ['postgresql://u:hidden@/o?host=db.example', 'db.example o'])
      expect(() => assertEncrypted('DATABASE_URL', url, production)).toThrow(/^DATABASE_URL: /)
    const socket = 'postgresql://u:hidden@/o?host=/var/run/postgresql'
    expect(assertEncrypted('DATABASE_URL', socket, production)).toBe(socket)
  })

  test('may be allowed by name, and only so', () => {
    const DATABASE_URL = 'postgresql://u:hidden@db.example/o'
    expect(faultsOf({ DATABASE_URL, OTPILOT_PLAIN_POSTGRES: 'allow' })).toEqual([])
    expect(faultsOf({ DATABASE_URL, OTPILOT_PLAIN_POSTGRES: 'refuse' })).toEqual(['DATABASE_URL'])
    expect(faultsOf({ DATABASE_URL, OTPILOT_PLAIN_TEMPORAL: 'allow' })).toEqual(['DATABASE_URL'])
    expect(faultsOf({ DATABASE_URL, OTPILOT_PLAIN_POSTGRES: 'yes' })).toEqual([
      'OTPILOT_PLAIN_POSTGRES',
      'DATABASE_URL',
    ])
  })

  test('every address of it is looked at, and PGSSLMODE counts where an address has no mode', () => {
    const there = 'postgresql://u:hidden@db.example/o'
    const addresses = { MIGRATION_DATABASE_URL: there, SUPERUSER_DATABASE_URL: there }
    expect(faultsOf(addresses)).toEqual(Object.keys(addresses))
    expect(faultsOf({ ...addresses, PGSSLMODE: 'verify-full' })).toEqual([])
    expect(faultsOf({ ...addresses, PGSSLMODE: 'require' })).toEqual(Object.keys(addresses))
    expect(
      faultsOf({ DATABASE_URL: `${there}?sslmode=disable`, PGSSLMODE: 'verify-full' }),
    ).toEqual(['DATABASE_URL'])
  })

  test('a certificate that nobody checks is none', () => {
    expect(faultsOf({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toEqual([
      'NODE_TLS_REJECT_UNAUTHORIZED',
    ])
  })
})

describe('Temporal, in production', () => {
  const there = { TEMPORAL_ADDRESS: 'temporal.internal.example:7233' }

  test.each([
    ['this machine', { TEMPORAL_ADDRESS: 'localhost:7233' }],
    ['IPv6', { TEMPORAL_ADDRESS: '[::1]:7233' }],
    ['TLS', { ...there, TEMPORAL_TLS: 'true' }],
    ['TLS with a name', { ...there, TEMPORAL_TLS_SERVER_NAME: 'temporal.example' }],
    ['an API key, which brings TLS', { ...there, TEMPORAL_API_KEY: 'key' }],
    ['allowed by name', { ...there, OTPILOT_PLAIN_TEMPORAL: 'allow' }],
  ])('is taken: %s', (_name, env) => {
    expect(faultsOf(env)).toEqual([])
  })

  test.each([
    ['nothing said', there],
    ['TLS off', { ...there, TEMPORAL_TLS: 'false' }],
    ['a word that the client does not read as true', { ...there, TEMPORAL_TLS: 'yes' }],
    ['an API key in the clear', { ...there, TEMPORAL_API_KEY: 'key', TEMPORAL_TLS: 'false' }],
    ['allowed for Postgres only', { ...there, OTPILOT_PLAIN_POSTGRES: 'allow' }],
  ])('is refused: %s', (_name, env) => {
    expect(faultsOf(env)).toEqual(['TEMPORAL_ADDRESS'])
    expect(faultsOf({ ...env, OTPILOT_ENV: 'development' })).toEqual([])
  })

  test('a profile file is believed as the client reads it', () => {
    const file = join(tmpdir(), `otpilot-profile-${process.pid}.toml`)
    const given = { TEMPORAL_CONFIG_FILE: file, TEMPORAL_ADDRESS: '' }
    writeFileSync(file, '[profile.default]\naddress = "cluster.example:7233"\n')
    expect(faultsOf(given)).toEqual(['TEMPORAL_ADDRESS'])
    writeFileSync(
      file,
      '[profile.default]\naddress = "cluster.example:7233"\n[profile.default.tls]\n',
    )
    expect(faultsOf(given)).toEqual([])
  })
})

test.each([
  ['the API', ['api/main.ts']],
  ['a worker', ['worker/main.ts']],
  ['migrate', ['cli/otpilot.ts', 'migrate']],
  ['a command', ['cli/otpilot.ts', 'apps', 'list']],
  ['a report', ['cli/otpilot.ts', 'budgets', '--app', 'shop']],
  ['an explanation', ['cli/otpilot.ts', 'route', '+233241234567']],
  ['npm start', ['cli/start.ts', '--check']],
])('%s does not start with Postgres in the clear', (_name, words) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', ...words], {
    cwd: root,
    encoding: 'utf8',
    env: {
      ...production,
      PATH: process.env.PATH,
      DATABASE_URL: 'postgresql://u:hidden@db.internal.example/o',
    },
  })
  expect({ status, said: stdout + stderr }).toEqual({
    status: 1,
    said: expect.stringContaining('DATABASE_URL: must have sslmode=verify-full in production'),
  })
  expect(stdout + stderr).not.toContain('hidden')
})

describe('production starts, and warns', () => {
  const warningsOf = (env: Record<string, string>) =>
    productionWarnings(readConfig({ ...production, ...env }, { serves: true }))
  const noBudget = expect.stringContaining('protection.budget')

  test('without a budget', () => {
    expect(warningsOf({})).toEqual([noBudget])
    expect(warningsOf({ OTPILOT_ENV: 'development' })).toEqual([])
  })

  test.each([
    ['9', true],
    ['4', true],
    ['3', false],
    ['10.0.0.0/8,fc00::/7', false],
    ['10.0.0.0/8,0.0.0.0/1', true],
    ['8000::/1', true],
  ])('of believing too many proxies: %s', (OTPILOT_TRUST_PROXY, isTooMany) => {
    const proxies = expect.stringContaining('OTPILOT_TRUST_PROXY')
    expect(warningsOf({ OTPILOT_TRUST_PROXY })).toEqual([...(isTooMany ? [proxies] : []), noBudget])
  })
})
