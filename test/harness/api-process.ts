import { fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { freePort } from '../../cli/ports'
import type { System } from './system'

const root = resolve(__dirname, '..', '..')
const memoryReport = pathToFileURL(resolve(__dirname, 'memory-report.ts')).href

/** A second API in a process of its own, started as `npm start` does, beside a running system. */
export async function startApiProcess(system: System, env: Record<string, string> = {}) {
  const port = await freePort()
  const child = fork(resolve(root, 'api', 'main.ts'), {
    cwd: root,
    execArgv: ['--expose-gc', '--import', 'tsx', '--import', memoryReport],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      PATH: process.env.PATH,
      OTPILOT_ENV: 'development',
      PORT: String(port),
      OTPILOT_URL: system.url,
      DATABASE_URL: system.databaseUrl,
      TEMPORAL_ADDRESS: system.temporal.connection.address,
      OTPILOT_TASK_QUEUE: system.temporal.taskQueue,
      OTPILOT_KEYS_FILE: system.keysFile,
      SANDBOX_URL: system.sandboxUrl,
      SANDBOX_SECRET: system.sandboxSecret,
      LOG_LEVEL: 'silent',
      ...env,
    },
  })
  const ended = once(child, 'exit')
  await Promise.race([
    once(child, 'message'),
    ended.then(([code]) => Promise.reject(new Error(`api/main.ts ended with ${code}.`))),
  ])
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /**
     * Megabytes that the process keeps after a garbage collection: the least of several readings, since connections
     * that are being closed and buffers that are being freed go a moment later.
     */
    keptMegabytes: async () => {
      const readings: number[] = []
      while (readings.length < 15) {
        child.send('memory')
        const [{ keptBytes }] = (await once(child, 'message')) as [{ keptBytes: number }]
        readings.push(keptBytes / 1e6)
        await pause(200)
      }
      return Math.min(...readings)
    },
    stop: async () => {
      child.kill('SIGTERM')
      return (await ended)[0] as number | null
    },
  }
}
