import { spawn } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freshPhone } from '../harness/client'
import { startSystem, type System } from '../harness/system'

const root = resolve(__dirname, '..', '..')
let system: System
let folder: string

beforeAll(async () => {
  system = await startSystem()
  folder = await mkdtemp(join(tmpdir(), 'otpilot-typed-'))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  await copyFile(join(root, 'test', 'clients', 'typed.mts'), join(folder, 'typed.mts'))
  const document = await (await fetch(`${system.url}/openapi.json`)).text()
  await writeFile(join(folder, 'openapi.json'), document)
  await run(
    ...['--import', pathToFileURL(join(root, 'test', 'clients', 'typescript-5.mjs')).href],
    join(root, 'node_modules', 'openapi-typescript', 'bin', 'cli.js'),
    ...['openapi.json', '--output', 'schema.d.ts'],
  )
})
afterAll(async () => {
  await system.stop()
  await rm(folder, { recursive: true })
})

/** Runs a program under this Node; what it printed, or its failure with that. */
async function run(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (printed += text))
  const code = await new Promise((done) => child.once('close', done))
  if (code !== 0) throw new Error(`exit code ${String(code)}: ${printed}`)
  return printed.trim()
}

const compile = (file: string) =>
  run(
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    ...['--strict', '--noUncheckedIndexedAccess', '--module', 'nodenext', '--target', 'es2024'],
    ...['--types', 'node', '--allowImportingTsExtensions', '--rewriteRelativeImportExtensions'],
    ...['--outDir', 'out', file],
  )

test('the client of openapi-typescript compiles, sends, is refused, verifies and reads', async () => {
  expect(await compile('typed.mts')).toBe('')
  const phone = freshPhone()
  expect(
    await run(join('out', 'typed.mjs'), system.url, system.key, system.sandboxUrl, phone),
  ).toBe('sent INVALID_CODE 4 restricted verified')
})

test.each([
  ["channel: 'sms'", "channel: 'smss'", `'"smss"' is not assignable`],
  ['request_id, code: other', 'request_id', "'code' is missing"],
])('with %s as %s it does not compile', async (right, mistaken, said) => {
  const program = await readFile(join(folder, 'typed.mts'), 'utf8')
  expect(program).toContain(right)
  await writeFile(join(folder, 'mistaken.mts'), program.replace(right, mistaken))
  await expect(compile('mistaken.mts')).rejects.toThrow(said)
})
