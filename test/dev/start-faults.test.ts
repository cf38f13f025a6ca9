import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Client } from 'pg'
import { startChild } from '../../cli/child'
import { bringUpToDate } from '../../cli/tables'
import { isRunning, stopProcess } from '../../cli/processes'
import { assertOptions } from '../../cli/with-fakes'
import { freshDatabase } from '../harness/database'

const root = resolve(__dirname, '..', '..')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'otpilot-faults-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('of two starts at once after a kill -9, one gets the folder', async () => {
  const rounds = 100
  const nobody = 4_194_305
  for (let round = 0; round < rounds; round++) {
    mkdirSync(join(folder, String(round)))
    writeFileSync(join(folder, String(round), 'lock'), String(nobody))
  }
  // What names the program is the end of its command line, as for a start. Each round begins at a time of its own.
  const script = `
    const { dataFolder, lock } = require('./cli/data-folder')
    const [path, begin] = process.argv.slice(-3)
    for (let round = 0; round < ${rounds}; round++) {
      while (Date.now() < Number(begin) + round * 10);
      let said = 'won'
      try { lock(dataFolder(path + '/' + round)) } catch (error) { said = error.message }
      console.log(round + ' ' + said)
    }
    process.stdin.resume()`
  const begin = String(Date.now() + 3_000)
  const args = ['--import', 'tsx', '-e', script, folder, begin, 'cli/start.ts']
  const starts = [1, 2].map(() => spawn(process.execPath, args, { cwd: root }))
  const said = await Promise.all(starts.map((start) => linesOf(start, rounds)))
  const pids = starts.map(({ pid }) => pid)
  await Promise.all(
    starts.map(async (start) => {
      start.stdin.end()
      await once(start, 'close')
    }),
  )
  for (let round = 0; round < rounds; round++) {
    const won = said.map((lines) => lines[round] === `${round} won`)
    expect(won.filter(Boolean)).toEqual([true])
    expect(said[won.indexOf(false)]?.[round]).toMatch(
      new RegExp(`^${round} otpilot already runs in .* \\(pid ${pids[won.indexOf(true)]}\\)`),
    )
    expect(readdirSync(join(folder, String(round))).sort()).toEqual(['lock', 'logs'])
  }
})

const linesOf = (child: ChildProcess, count: number): Promise<string[]> =>
  new Promise((done, fail) => {
    let text = ''
    let complaints = ''
    child.stderr?.on('data', (chunk) => (complaints += String(chunk)))
    child.stdout?.on('data', (chunk) => {
      text += String(chunk)
      const lines = text.trimEnd().split('\n')
      if (text.endsWith('\n') && lines.length === count) done(lines)
    })
    child.once('close', () => fail(new Error(`It ended early: ${complaints}`)))
  })

test('a line of the log that a kill -9 cut short is no reason to fall', async () => {
  const entry = join(folder, 'program.js')
  const whole = '{"level":50,"msg":"whole"}'
  writeFileSync(
    entry,
    `process.stdout.write(${JSON.stringify(`{"level":50,"msg":"cu\n${whole}\n`)}, () => process.send({ ready: true }))
    setInterval(() => undefined, 1000)`,
  )
  const heard: string[] = []
  const say = (sentence: string) => heard.push(sentence)
  const logFile = join(folder, 'log')
  const child = { name: 'program', entry, env: {}, logFile, say }
  const service = await startChild(child, () => undefined)
  await stopProcess(service.pid, 'SIGKILL')
  expect(heard).toEqual(['error: whole'])
})

test('what a warning is about is said with it', async () => {
  const entry = join(folder, 'program.js')
  const line = { level: 40, msg: 'the policy file cannot be used', faults: ['policy.json:3: no'] }
  const fields = { provider: 'meta', channel: 'whatsapp', fault: 'config' }
  const opened = { level: 40, ...fields, msg: 'a breaker opened' }
  writeFileSync(
    entry,
    `console.log('${JSON.stringify(line)}'); console.log('${JSON.stringify(opened)}'); process.send({ ready: true }); setInterval(() => {}, 1e6)`,
  )
  const heard: string[] = []
  const say = (sentence: string) => heard.push(sentence)
  const child = { name: 'program', entry, env: {}, logFile: join(folder, 'log'), say }
  const service = await startChild(child, () => undefined)
  await stopProcess(service.pid, 'SIGKILL')
  expect(heard).toEqual([
    ...['warning: the policy file cannot be used', '  policy.json:3: no'],
    'warning: a breaker opened (meta, whatsapp, config)',
  ])
})

test.each([
  [
    '--with-fakes=nonsense',
    '--with-fakes: there is no fake of nonsense; there are africas-talking,',
  ],
  ['--with-fake', 'npm start does not know --with-fake: there are --check and --with-fakes'],
])('%s is told before anything starts', (option, sentence) => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', 'cli/start.ts', option],
    {
      cwd: root,
      env: { PATH: process.env.PATH, OTPILOT_DATA_DIR: join(folder, 'data') },
      encoding: 'utf8',
    },
  )
  expect([status, stdout]).toEqual([1, ''])
  expect(stderr).toContain(sentence)
  expect(existsSync(join(folder, 'data'))).toBe(false)
})

test('an option that npm kept for itself is missed', () => {
  expect(() => assertOptions([], { npm_config_with_fakes: 'twilio' })).toThrow(
    'npm start -- --with-fakes=twilio',
  )
  expect(() => assertOptions([], { npm_config_with_fakes: 'true' })).toThrow(
    /npm start -- --with-fakes$/,
  )
  expect(() => assertOptions(['--check', '--with-fakes=smtp'], {})).not.toThrow()
})

test('the number of what could not be started is nobody’s', async () => {
  expect(isRunning(0)).toBe(false)
  await stopProcess(0, 'SIGKILL')
})

test('a migration that fails is one sentence without its statement', async () => {
  const { adminUrl, drop } = await freshDatabase()
  const client = new Client({ connectionString: adminUrl })
  try {
    await client.connect()
    // The tables without the note of what was applied: everything would be made a second time.
    await client.query('drop schema drizzle cascade')
    await expect(bringUpToDate(adminUrl)).rejects.toThrow(
      /^The tables in DATABASE_URL could not be brought up to date: type "\w+" already exists\. Nothing was changed\.$/,
    )
  } finally {
    await client.end()
    await drop()
  }
})

test('packages are not installed through a link', () => {
  const elsewhere = join(folder, 'elsewhere')
  mkdirSync(join(folder, 'copy/cli'), { recursive: true })
  mkdirSync(elsewhere)
  writeFileSync(join(elsewhere, 'theirs'), '')
  symlinkSync(elsewhere, join(folder, 'copy/node_modules'))
  copyFileSync(join(root, 'package-lock.json'), join(folder, 'copy/package-lock.json'))
  const npm = join(folder, 'npm.js')
  writeFileSync(npm, `require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'ran'))}, '')`)
  const bootstrap = join(folder, 'copy/cli/bootstrap.mjs')
  copyFileSync(join(root, 'cli/bootstrap.mjs'), bootstrap)
  const { status, stderr } = spawnSync(process.execPath, [bootstrap, 'cli/start.ts'], {
    env: { PATH: process.env.PATH, npm_execpath: npm },
    encoding: 'utf8',
  })
  expect(status).toBe(1)
  expect(stderr).toMatch(/^otpilot: "npm ci" would empty what the link node_modules leads to.*\n$/)
  expect(existsSync(join(folder, 'ran'))).toBe(false)
  expect(readFileSync(join(elsewhere, 'theirs'), 'utf8')).toBe('')
})
