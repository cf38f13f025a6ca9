import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from '@jest/globals'
import { adapters } from '../../providers'
import { prefixOf } from '../../providers/adapter'

const root = resolve(__dirname, '..', '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** Everything that may read the environment: the linter refuses it elsewhere. */
const readers = [
  ...['cli', 'cli/commands', 'config'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .map((name) => `${folder}/${name}`),
  ),
  ...['api/main.ts', 'worker/main.ts', 'sandbox/main.ts', 'test/harness/browser.ts'],
]

/** Read as a member, destructured, or named in a schema or a table of defaults. */
const waysToRead = [
  /\b(?:env|environment|raw|variables)\.([A-Z][A-Z0-9_]+)/g,
  /^ {2}([A-Z][A-Z0-9_]+): (?:z\.|optional\(|withDefault\(|\d)/gm,
]
const destructured = /\{([^{}]*)\} = (?:process\.env|env|variables)\b/g

/** Those of the operating system and of npm, which nobody sets for otpilot. */
const notOurs = new Set(['HOME', 'PATH', 'LC_ALL'])

/** The variables of an account that has its adapter's name. */
const variablesOfAdapters = adapters.map((adapter) => ({
  name: adapter.name,
  ofAccount: adapter.prefix === undefined,
  variables: Object.keys(adapter.settings.shape).map((name) => prefixOf(adapter, adapter) + name),
}))

/**
 * As a set, so that two lists of names are equal whatever their order. Those of an account are documented on its
 * provider's page, whoever reads them.
 */
function variablesRead(): Set<string> {
  const ofAccounts = new Set(
    variablesOfAdapters.flatMap(({ ofAccount, variables }) => (ofAccount ? variables : [])),
  )
  const found = readers
    .map(read)
    .flatMap((source) => [
      ...waysToRead.flatMap((way) => [...source.matchAll(way)].map(([, name = '']) => name)),
      ...[...source.matchAll(destructured)].flatMap(([, names = '']) => [
        ...(names.match(/[A-Z][A-Z0-9_]+/g) ?? []),
      ]),
    ])
  return new Set(found.filter((name) => !notOurs.has(name) && !ofAccounts.has(name)))
}

const variablesIn = (page: string) =>
  [...read(page).matchAll(/^\| `([A-Z][A-Z0-9_]+)` /gm)].map(([, name = '']) => name)

test('docs/operations.md names every variable that the code reads, and no other', () => {
  const documented = variablesIn('docs/operations.md')
  expect(new Set(documented).size).toBe(documented.length)
  // Written by `npm start` for people to use, not read by the service.
  const forPeople = [
    'OTP_API_KEY',
    'OTPILOT_ADMIN_KEY',
    'OTPILOT_LIVE_KEY',
    'OTPILOT_PUBLISHABLE_KEY',
  ]
  const shared = variablesOfAdapters.flatMap(({ ofAccount, variables }) =>
    ofAccount ? [] : variables,
  )
  expect(new Set(documented)).toEqual(new Set([...variablesRead(), ...shared, ...forPeople]))
})

test('each provider’s page names the variables of its account, and no other', () => {
  const ofAccounts = variablesOfAdapters.filter(({ ofAccount }) => ofAccount)
  for (const { name, variables } of ofAccounts) {
    expect([name, variablesIn(`docs/providers/${name}.md`).sort()]).toEqual([
      name,
      variables.sort(),
    ])
  }
})

test('the documented defaults are those of the code', () => {
  const sources = ['config/index.ts', 'cli/settings.ts', 'sandbox/main.ts'].map(read).join('\n')
  const rows = [...read('docs/operations.md').matchAll(/^\| `(\w+)` +\| `([^`]+)` +\|/gm)]
  const wrong = rows.filter(([, name, value]) => {
    const line = new RegExp(`^ {2}${name}: [^]*?(?=^ {2}[A-Z]|^\\}|^const )`, 'm').exec(
      sources,
    )?.[0]
    return line && !line.includes('optional(') && !line.includes(String(value))
  })
  expect(wrong.map(([row]) => row)).toEqual([])
  expect(rows.length).toBeGreaterThan(10)
})
