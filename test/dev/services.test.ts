import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { readVariables, writeVariables } from '../../cli/dotenv'
import { assertFree, freePort } from '../../cli/ports'
import { readSettings, rememberGiven } from '../../cli/settings'
import { describeTemporal, findTemporal } from '../../cli/temporal-binary'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'otpilot-services-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const program = (path: string, script = 'exit 0'): string => {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

describe('finding a Temporal server', () => {
  const said: string[] = []
  const at = (site: string, github = site) => ({ site, github })
  const unreachable = at('http://127.0.0.1:9')
  // Enough of a system for the scripts of this test, and surely no temporal or go.
  const systemPath = '/usr/bin:/bin'
  const find = (env: NodeJS.ProcessEnv, downloadHosts = unreachable, digest?: string) => {
    said.length = 0
    const all = { XDG_CACHE_HOME: join(folder, 'cache'), PATH: systemPath, ...env }
    const say = (sentence: string) => said.push(sentence)
    return findTemporal({ env: all, say, downloadHosts, ...(digest && { digest }) })
  }
  const cached = () => join(folder, 'cache/otpilot/temporal-1.5.1/temporal')
  const inCache = () => readdirSync(join(folder, 'cache/otpilot/temporal-1.5.1'))

  test('takes the server that TEMPORAL_ADDRESS names before anything else', async () => {
    const env = { TEMPORAL_ADDRESS: 'temporal.example:7233', TEMPORAL_CLI: '/nowhere' }
    expect(await find(env)).toMatchObject({ kind: 'address', address: 'temporal.example:7233' })
  })

  test('then the program that TEMPORAL_CLI names, and says so when it is none', async () => {
    const binary = program(join(folder, 'my-temporal'))
    expect(await find({ TEMPORAL_CLI: binary })).toMatchObject({ kind: 'binary', binary })
    await expect(find({ TEMPORAL_CLI: '/nowhere/temporal' })).rejects.toThrow(
      'TEMPORAL_CLI names /nowhere/temporal, which is not an executable file.',
    )
  })

  test('then the one on PATH, then the one of an earlier start', async () => {
    program(cached())
    expect(await find({})).toMatchObject({ kind: 'binary', binary: cached() })
    const installed = program(join(folder, 'bin/temporal'))
    expect(await find({ PATH: join(folder, 'bin') })).toMatchObject({ binary: installed })
  })

  const archiveOf = (release: string) =>
    spawnSync('tar', ['-czf', '-', '-C', release, 'temporal']).stdout
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  /** Sends the next of these each time. */
  async function withHost(archives: Buffer[], use: (host: string) => Promise<void>) {
    const asked: (string | undefined)[] = []
    const server = createServer((request, response) => {
      response.end(archives[asked.push(request.url) - 1])
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    } finally {
      server.close()
    }
    return asked
  }
  const site = expect.stringMatching(/^\/cli\/archive\/v1\.5\.1\?platform=\w+&arch=\w+$/)
  const github = expect.stringMatching(
    /^\/temporalio\/cli\/releases\/download\/v1\.5\.1\/temporal_cli_1\.5\.1_\w+\.tar\.gz$/,
  )

  test('downloads it where nothing is there, and keeps it', async () => {
    program(join(folder, 'release/temporal'), 'echo downloaded')
    const archive = archiveOf(join(folder, 'release'))
    const asked = await withHost([archive], async (host) => {
      expect(await find({}, at(host), sha256(archive))).toMatchObject({ binary: cached() })
    })
    expect(asked).toEqual([site])
    expect(spawnSync(cached(), { encoding: 'utf8' }).stdout).toBe('downloaded\n')
    expect(inCache()).toEqual(['temporal'])
  })

  test('runs nothing but the release: another archive is thrown away, and GitHub asked', async () => {
    program(join(folder, 'release/temporal'), 'echo released')
    program(join(folder, 'forged/temporal'), 'echo forged')
    const [released, forged] = [
      archiveOf(join(folder, 'release')),
      archiveOf(join(folder, 'forged')),
    ]
    const asked = await withHost([forged, released], async (host) => {
      await find({}, at(host), sha256(released))
    })
    expect(asked).toEqual([site, github])
    expect(spawnSync(cached(), { encoding: 'utf8' }).stdout).toBe('released\n')
    rmSync(cached())
    // The digest that is pinned, of no archive of ours.
    await withHost([released, forged], async (host) => {
      await expect(find({}, at(host))).rejects.toThrow(
        /it sent [0-9a-f]{64}, which is not the release/,
      )
    })
    expect(inCache()).toEqual([])
  })

  test('gives up a download that hangs, and builds with Go instead', async () => {
    const server = createServer(() => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const downloadHosts = at(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    program(
      join(folder, 'bin/go'),
      'if [ "$1" = env ]; then echo /tmp; echo /tmp; else echo "$@" > "$GOBIN/temporal"; chmod +x "$GOBIN/temporal"; fi',
    )
    const env = {
      XDG_CACHE_HOME: join(folder, 'cache'),
      PATH: `${join(folder, 'bin')}:${systemPath}`,
    }
    const heard: string[] = []
    const say = (sentence: string) => heard.push(sentence)
    try {
      const choice = await findTemporal({ env, say, downloadHosts, downloadPatienceMs: 200 })
      expect(choice).toMatchObject({ kind: 'binary', binary: cached() })
    } finally {
      server.closeAllConnections()
      server.close()
    }
    expect(readFileSync(cached(), 'utf8')).toBe(
      'install github.com/temporalio/cli/cmd/temporal@v1.5.1\n',
    )
    expect(heard.join('\n')).toMatch(/could not be downloaded from .* \(nothing came for 0\.2 s\)/)
    expect(heard.join('\n')).toMatch(/Building Temporal 1\.5\.1 with .*bin\/go/)
  })

  const slowGo = () =>
    program(
      join(folder, 'bin/go'),
      `if [ "$1" = env ]; then echo /tmp; echo /tmp; else
        echo built >> ${join(folder, 'builds')}; sleep 1; echo "$@" > "$GOBIN/temporal"; chmod +x "$GOBIN/temporal"; fi`,
    )
  const builds = () => readFileSync(join(folder, 'builds'), 'utf8').split('\n').length - 1
  const withGo = () => ({
    XDG_CACHE_HOME: join(folder, 'cache'),
    PATH: `${join(folder, 'bin')}:${systemPath}`,
  })

  test('of three first starts at once one builds, and the others wait and say so', async () => {
    slowGo()
    const heard: string[][] = [[], [], []]
    const choices = await Promise.all(
      heard.map((lines) =>
        findTemporal({
          env: withGo(),
          say: (sentence) => lines.push(sentence),
          downloadHosts: unreachable,
        }),
      ),
    )
    expect(choices).toMatchObject(heard.map(() => ({ kind: 'binary', binary: cached() })))
    expect(builds()).toBe(1)
    const waiting = heard.filter((lines) => /Another start is .*: waiting/.test(lines.join('\n')))
    expect(waiting).toHaveLength(2)
    expect(inCache()).toEqual(['temporal'])
  })

  test('takes over the lock of a start that was killed, on this machine or another', async () => {
    slowGo()
    const { pid } = spawnSync('true')
    for (const [count, holder, at] of [
      [1, `${pid} ${hostname()}`, new Date()],
      [2, `${process.pid} elsewhere`, new Date(Date.now() - 60_000)],
    ] as const) {
      program(join(folder, 'cache/otpilot/temporal-1.5.1/lock'))
      writeFileSync(join(folder, 'cache/otpilot/temporal-1.5.1/lock'), holder)
      utimesSync(join(folder, 'cache/otpilot/temporal-1.5.1/lock'), at, at)
      expect(await find(withGo())).toMatchObject({ binary: cached() })
      expect(builds()).toBe(count)
      expect(inCache()).toEqual(['temporal'])
      rmSync(cached())
    }
  })

  test('leaves nothing half made when the build fails', async () => {
    const broken = 'echo half > "$GOBIN/temporal"; echo "no route to proxy" >&2; exit 1'
    program(join(folder, 'bin/go'), broken)
    await expect(find({ PATH: `${join(folder, 'bin')}:${systemPath}` })).rejects.toThrow(
      /Go could not build Temporal \(no route to proxy\)/,
    )
    expect(inCache()).toEqual([])
  })

  test('says what to do when there is no download and no Go', async () => {
    await expect(find({})).rejects.toThrow(
      /could not be downloaded.*There is no Go on PATH.*put it on PATH or name it in TEMPORAL_CLI; set TEMPORAL_ADDRESS.*install Go/,
    )
    expect(inCache()).toEqual([])
  })

  test('tells what it would do without doing it', () => {
    const env = { XDG_CACHE_HOME: join(folder, 'cache'), PATH: systemPath }
    expect(describeTemporal(env)).toMatch(/a download of 1\.5\.1 would be tried; there is no Go/)
    expect(readdirSync(folder)).toEqual([])
  })
})

describe('the env file', () => {
  const awkward = {
    PLAIN: 'postgresql://user:pa%20ss@127.0.0.1:5433/otpilot',
    SECRET: 'whsec_abc+/d==',
    SPACES: 'a value # with $HOME and "quotes"',
    APOSTROPHE: "it's",
  }

  test('reads the same in a POSIX shell, in Node’s dotenv and here', () => {
    const file = join(folder, 'env')
    writeVariables(file, 'A test.', awkward)
    const print = `for n in ${Object.keys(awkward).join(' ')}; do eval "printf '%s\\n' \\"\\$$n\\""; done`
    const shell = spawnSync('sh', ['-c', `. "$1"; ${print}`, 'sh', file], { encoding: 'utf8' })
    const json = `JSON.stringify(Object.fromEntries(${JSON.stringify(Object.keys(awkward))}.map((n) => [n, process.env[n]])))`
    const node = spawnSync(process.execPath, [`--env-file=${file}`, '-p', json], {
      encoding: 'utf8',
    })
    expect(shell.stdout.trimEnd().split('\n')).toEqual(Object.values(awkward))
    expect(JSON.parse(node.stdout)).toEqual(awkward)
    expect(readVariables(file)).toEqual(awkward)
  })

  test('does not fix the next start when it was loaded into the shell', () => {
    mkdirSync(join(folder, 'data'))
    const own = { DATABASE_URL: 'postgresql://own', TEMPORAL_ADDRESS: 'given:7233' }
    writeVariables(join(folder, 'data/env'), 'A test.', own)
    const environment = { OTPILOT_DATA_DIR: join(folder, 'data'), ...own }
    const settings = readSettings(environment)
    expect(settings.env).not.toHaveProperty('DATABASE_URL')
    expect(settings.env).not.toHaveProperty('TEMPORAL_ADDRESS')

    // What the user named before is still the user's word.
    rememberGiven(settings.folder, ['TEMPORAL_ADDRESS'])
    expect(readSettings(environment).env.TEMPORAL_ADDRESS).toBe('given:7233')
    expect(
      readSettings({ ...environment, DATABASE_URL: 'postgresql://other' }).env.DATABASE_URL,
    ).toBe('postgresql://other')
  })
})

describe('ports', () => {
  test('a busy one is named together with the variable that moves it', async () => {
    const port = await freePort()
    const server = createServer().listen(port, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    await expect(assertFree({ SANDBOX_PORT: port })).rejects.toThrow(
      `Already in use on 127.0.0.1: port ${port} (set SANDBOX_PORT to another one)`,
    )
    server.close()
  })

  test('two settings with one port are told apart before anything starts', () => {
    expect(() => readSettings({ PORT: '8081' })).toThrow('SANDBOX_PORT and PORT are both 8081')
    expect(() => readSettings({ PORT: 'http' })).toThrow('PORT must be a port number')
  })
})
