import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'

// Days of traffic, on whatever machine.
jest.setTimeout(180_000)

describe('npm run abuse', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'otpilot-events-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const invocation = (text: string) => {
    const file = join(folder, 'events.jsonl')
    writeFileSync(file, text)
    return {
      args: ['--import', 'tsx', 'bench/abuse/main.ts', '--events', file],
      cwd: resolve(__dirname, '..', '..'),
      env: { ...process.env, DATABASE_URL: process.env.OTPILOT_TEST_DATABASE_URL },
    }
  }
  const command = (text: string) => {
    const { args, ...options } = invocation(text)
    return spawnSync(process.execPath, args, { ...options, encoding: 'utf8' })
  }

  test('prints one JSON object last', () => {
    const { stdout, status } = command(
      '{"t":0,"type":"send","id":"a","app":"x","phone":"+233244170001","truth":"attack","scenario":"mine"}\n',
    )
    expect(status).toBe(0)
    const { scenarios: results } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
      scenarios: unknown[]
    }
    expect(results).toEqual([
      expect.objectContaining({
        ...{ name: 'mine', leaked: 1, leaked_worst_block: 1, spend: 0.021, budget: 1000 },
        ...{ time_to_block_s: null, false_blocks: 0, users: 0 },
      }),
    ])
  })

  test('runs nothing of a file with a bad line', () => {
    const { stdout, stderr, status } = command('{"t":0}\n')
    expect(status).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toContain('was not run.\nline 1: ')
  })

  test('leaves nothing behind when it is stopped more than once, as by Ctrl-C under npm', async () => {
    const own = mkdtempSync(join(folder, 'tmp-'))
    const sends = Array.from(
      { length: 5_000 },
      (_, nth) =>
        `{"t":${nth * 60_000},"type":"send","id":${nth},"phone":"+23324${4_000_000 + nth}","truth":"user"}`,
    )
    const { args, cwd, env } = invocation(sends.join('\n'))
    const running = spawn(process.execPath, args, { cwd, env: { ...env, TMPDIR: own } })
    const ended = once(running, 'exit')
    const isReady = () =>
      readdirSync(own).some(
        (name) => name.startsWith('otpilot-abuse-') && existsSync(join(own, name, 'keys.json')),
      )
    while (running.exitCode === null && !isReady()) await delay(20)
    while (running.exitCode === null && running.signalCode === null) {
      running.kill('SIGINT')
      await delay(20)
    }
    expect(await ended).toEqual([130, null])
    expect(readdirSync(own).filter((name) => name.startsWith('otpilot-abuse-'))).toEqual([])
  })
})
