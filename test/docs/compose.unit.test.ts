import { describe, expect, test } from '@jest/globals'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parse } from 'yaml'
import { readConfig } from '../../config'
import { temporalNames } from '../../db/setup/temporal-role'
import { adapters } from '../../providers'
import { prefixOf } from '../../providers/adapter'

// No container engine is at hand (deploy/README.md), so this checks what can be checked on paper.

interface Service {
  image: string
  build?: string
  command?: string[]
  environment?: Record<string, string>
  env_file?: { path: string; required: boolean }[]
  depends_on?: Record<string, { condition: string }>
  volumes?: string[]
  ports?: string[]
  healthcheck?: { test: string[] }
  cap_drop?: string[]
  cap_add?: string[]
  security_opt?: string[]
  read_only?: boolean
  mem_limit?: string
}

const root = resolve(__dirname, '..', '..')
const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8')
const compose = parse(text, { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}
const services = Object.entries(compose.services)
const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')
const ours = services.filter(([, { build }]) => build !== undefined)

const sourceOf = (program: string) => program.replace(/^dist\//, '').replace(/\.js$/, '.ts')

describe('docker-compose.yml', () => {
  test('holds the services that the design names', () => {
    expect(Object.keys(compose.services)).toEqual(
      expect.arrayContaining(['postgres', 'temporal', 'temporal-ui', 'api', 'worker', 'sandbox']),
    )
  })

  test('depends only on services that exist and can reach the state that is waited for', () => {
    for (const [name, { depends_on = {} }] of services)
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const target = compose.services[other]
        expect({ name, other, known: target !== undefined }).toEqual({ name, other, known: true })
        if (condition === 'service_healthy') expect(target?.healthcheck).toBeDefined()
      }
  })

  test('runs only programs that the build makes', () => {
    const included = (
      JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')) as { include: string[] }
    ).include
    for (const [, { command }] of ours) {
      const source = sourceOf(command?.[1] ?? '')
      expect(command?.[0]).toBe('node')
      expect({ source, exists: existsSync(join(root, source)) }).toEqual({ source, exists: true })
      expect(included.some((path) => source.startsWith(path.replace(/\*.*/, '')))).toBe(true)
    }
  })

  test('mounts only paths and volumes that exist', () => {
    for (const [, { volumes = [] }] of services)
      for (const volume of volumes) {
        const source = volume.split(':')[0] ?? ''
        if (source.startsWith('.')) expect(existsSync(join(root, source))).toBe(true)
        else expect(Object.keys(compose.volumes)).toContain(source)
      }
  })

  test('calls only scripts that exist and may be executed', () => {
    const scripts = services.flatMap(([, { command = [] }]) =>
      command.filter((word) => word.startsWith('/otpilot/')),
    )
    expect(scripts).not.toHaveLength(0)
    for (const script of scripts) {
      const { mode } = statSync(join(root, script.replace('/otpilot/', 'deploy/temporal/')))
      expect(mode & 0o111).not.toBe(0)
    }
  })

  test('sets only variables that our programs read', () => {
    const sources = ['config/index.ts', 'sandbox/main.ts', 'cli/commands/tables.ts']
      .map((file) => readFileSync(join(root, file), 'utf8'))
      .join()
    const ofAccounts = adapters.flatMap((adapter) =>
      Object.keys(adapter.settings.shape).map((name) => prefixOf(adapter, adapter) + name),
    )
    for (const [, { environment = {} }] of ours)
      for (const name of Object.keys(environment))
        expect(ofAccounts.includes(name) || sources.includes(name) || name).toBe(true)
  })

  test('gives the provider accounts’ variables to whoever makes accounts of them', () => {
    const given = services.filter(([, { env_file }]) => env_file !== undefined)
    expect(given.map(([name]) => name)).toEqual(['api', 'worker'])
    for (const [, { env_file = [] }] of given)
      expect(env_file).toEqual([{ path: 'providers.env', required: false }])
    for (const file of ['.gitignore', '.dockerignore'])
      expect(readFileSync(join(root, file), 'utf8').split('\n')).toContain('providers.env')
  })

  test('has no default for a secret and pins every image', () => {
    const secrets = [...text.matchAll(/\$\{(\w*(?:PASSWORD|SECRET)\w*)([^}]*)\}/g)]
    expect(secrets).not.toHaveLength(0)
    for (const [, name, rest] of secrets)
      expect({ name, rest }).toEqual({ name, rest: expect.stringMatching(/^(:\?.+|:-)$/) })
    for (const [name, { image, build }] of services)
      if (build === undefined)
        expect({ name, image }).toEqual({ name, image: expect.stringMatching(/:\d/) })
  })

  test('lets no container have more than it needs', () => {
    for (const [name, { cap_drop, security_opt, mem_limit }] of services)
      expect({ name, cap_drop, security_opt, mem_limit }).toEqual({
        name,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        mem_limit: expect.stringMatching(/^\d+[mg]$/),
      })
    for (const [name, { read_only }] of ours) expect([name, read_only]).toEqual([name, true])
    const withCapabilities = services.filter(([, { cap_add }]) => cap_add !== undefined)
    expect(withCapabilities.map(([name]) => name)).toEqual(['postgres'])
  })

  test('gives the superuser to what makes roles, and to nobody who serves', () => {
    const holders = services.filter(([, service]) =>
      /\$\{POSTGRES_PASSWORD/.test(JSON.stringify(service)),
    )
    expect(holders.map(([name]) => name).sort()).toEqual(['postgres', 'roles', 'temporal-role'])
    const { temporal, 'temporal-schema': schema } = compose.services
    expect(temporal?.environment?.POSTGRES_USER).toBe(temporalNames.role)
    expect(schema?.environment?.SQL_USER).toBe(temporalNames.role)
    const { DBNAME, VISIBILITY_DBNAME } = temporal?.environment ?? {}
    expect([DBNAME, VISIBILITY_DBNAME]).toEqual(temporalNames.databases)
  })

  test.each(['api', 'worker', 'migrate', 'roles', 'temporal-role'])(
    'has an environment that production takes: %s',
    (name) => {
      const given: Record<string, string> = { OTPILOT_URL: 'https://otp.example' }
      const filled = Object.entries(compose.services[name]?.environment ?? {}).map(
        ([variable, value]) => {
          const text = value.replace(
            /\$\{(\w+)(?::([-?])([^}]*))?\}/g,
            (_all, key: string, kind: string, other: string) =>
              given[key] ?? (kind === '-' ? other : 'secret'),
          )
          return [variable, text]
        },
      )
      expect(() => readConfig(Object.fromEntries(filled), { serves: true })).not.toThrow()
    },
  )

  test('publishes ports on the loopback address only', () => {
    for (const port of services.flatMap(([, { ports = [] }]) => ports))
      expect(port).toMatch(/^127\.0\.0\.1:/)
  })

  test('explains every variable it asks for', () => {
    const readme = readFileSync(join(root, 'deploy/README.md'), 'utf8')
    for (const [, name] of text.matchAll(/\$\{(\w+)/g)) expect(readme).toContain(name)
  })
})

describe('Dockerfile', () => {
  const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap(
    ([, words]) => words?.split(' ').slice(0, -1) ?? [],
  )
  const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').trim().split('\n')

  test('copies only what exists and is sent to the builder', () => {
    for (const path of copies) {
      expect({ path, exists: existsSync(join(root, path)) }).toEqual({ path, exists: true })
      expect(ignored).not.toContain(path)
    }
  })

  test('builds with a script that exists, and runs as somebody other than root', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    for (const [, script] of dockerfile.matchAll(/npm run (\w+)/g))
      expect(scripts).toHaveProperty(script ?? '')
    expect(dockerfile).toMatch(/\nUSER node\n/)
  })

  test('takes its base image from the Node version the project runs on', () => {
    for (const [, image] of dockerfile.matchAll(/^FROM (\S+)/gm)) expect(image).toBe('node:24-slim')
  })
})
