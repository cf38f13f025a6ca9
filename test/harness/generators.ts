import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { cacheOf, onPath } from '../../cli/go-install'
import { freshPhone } from './client'
import { startSharedServices } from './shared-services'
import { startSystem, type System } from './system'

/**
 * `npm run generators`: makes clients of the document with openapi-generator, and has those for Python and
 * typescript-fetch send a code, be refused a wrong one, verify the right one and read the request, against a system that
 * it starts. Not a part of `npm test`, since it needs Java, Python and Go.
 */
const version = '7.14.0'
const root = resolve(__dirname, '..', '..')
const sources = join(root, 'test', 'clients')
// oxlint-disable-next-line node/no-process-env -- the programs of this machine are looked for.
const { env } = process
const cache = cacheOf(env, `openapi-generator-${version}`)
const jar = join(cache, `openapi-generator-cli-${version}.jar`)
const usual = 'sent INVALID_CODE 4 restricted verified'

/** What has to be on PATH, and what to install where it is not. */
const programs: Readonly<Record<string, string>> = {
  java: 'a Java runtime of 11 or newer (Debian: openjdk-17-jre-headless), which runs openapi-generator',
  mvn: 'Maven (Debian: maven), which fetches openapi-generator',
  python3: 'Python of 3.9 or newer with venv (Debian: python3-venv), for the client in Python',
  go: 'Go of 1.23 or newer, for the client in Go',
}

/** Runs a program; what it printed on its output. @throws with the end of all that it printed */
async function run(program: string, args: string[], given: { cwd: string; more?: object }) {
  const { cwd, more } = given
  const child = spawn(program, args, {
    cwd,
    env: { ...env, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let all = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    all += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (all += text))
  const code = await new Promise((done, fail) => child.once('close', done).once('error', fail))
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}:\n${all.slice(-3_000)}`)
  return output.trim()
}

async function fetchGenerator(): Promise<void> {
  if (existsSync(jar)) return
  await mkdir(cache, { recursive: true })
  const artifact = `org.openapitools:openapi-generator-cli:${version}`
  await run(
    'mvn',
    ['-q', 'dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${cache}`],
    {
      cwd: cache,
    },
  )
}

/** Makes a client in a folder of its own under `folder`. */
async function generate(folder: string, generator: string): Promise<string> {
  const into = join(folder, generator)
  const named = '--additional-properties=packageName=otpilot_client'
  const args = ['-jar', jar, 'generate', '-g', generator, '-i', 'openapi.json', '-o', into, named]
  await run('java', args, { cwd: folder })
  return into
}

function expectUsual(printed: string): void {
  if (printed !== usual) throw new Error(`it printed "${printed}" instead of "${usual}"`)
}

type Try = (folder: string, system: System) => Promise<string>

const callsOf = ({ url, key, sandboxUrl }: System) => [url, key, sandboxUrl, freshPhone()]

const tries: Readonly<Record<string, Try>> = {
  python: async (folder, system) => {
    const client = await generate(folder, 'python')
    const venv = join(cache, 'venv')
    const python = join(venv, 'bin', 'python')
    if (!existsSync(python)) await run('python3', ['-m', 'venv', venv], { cwd: cache })
    await run(python, ['-m', 'pip', 'install', '-q', '-r', 'requirements.txt'], { cwd: client })
    const args = [join(sources, 'generated.py'), ...callsOf(system)]
    expectUsual(await run(python, args, { cwd: client, more: { PYTHONPATH: client } }))
    return 'sent, refused, verified, read'
  },
  'typescript-fetch': async (folder, system) => {
    const client = await generate(folder, 'typescript-fetch')
    const modules = join(root, 'node_modules')
    await symlink(modules, join(client, 'node_modules'))
    // What is generated has no package file unless it gets the name of a package.
    await writeFile(join(client, 'package.json'), '{"type": "module"}')
    await copyFile(join(sources, 'generated.mts'), join(client, 'generated.mts'))
    const compile = [
      join(modules, 'typescript', 'bin', 'tsc'),
      ...['--ignoreConfig', '--noEmit', '--strict', '--module', 'esnext', '--target', 'es2024'],
      ...['--moduleResolution', 'bundler', '--types', 'node', '--lib', 'es2024,dom'],
      'generated.mts',
    ]
    await run(process.execPath, compile, { cwd: client })
    const args = ['--import', 'tsx', 'generated.mts', ...callsOf(system)]
    expectUsual(await run(process.execPath, args, { cwd: client }))
    return 'compiled, sent, refused, verified, read'
  },
  go: async (folder) => {
    const client = await generate(folder, 'go')
    await run('go', ['build', '-mod=mod', './...'], { cwd: client })
    return 'compiled'
  },
}

async function main(): Promise<number> {
  const missing = Object.keys(programs).filter((name) => onPath(env, name) === undefined)
  for (const name of missing)
    console.error(`generators: there is no ${name} on PATH: install ${programs[name]}.`)
  if (missing.length > 0) return 1
  await fetchGenerator()
  const folder = await mkdtemp(join(tmpdir(), 'otpilot-generators-'))
  const stopServices = await startSharedServices()
  const system = await startSystem()
  let failed = 0
  try {
    const document = await (await fetch(`${system.url}/openapi.json`)).text()
    await writeFile(join(folder, 'openapi.json'), document)
    for (const [name, attempt] of Object.entries(tries)) {
      try {
        console.log(`generators: ok ${name}: ${await attempt(folder, system)}`)
      } catch (error) {
        failed += 1
        console.log(`generators: FAILED ${name}: ${error instanceof Error ? error.message : ''}`)
      }
    }
  } finally {
    await system.stop()
    await stopServices()
    await rm(folder, { recursive: true })
  }
  console.log(`${Object.keys(tries).length - failed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
