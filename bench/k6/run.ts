import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { machineFacts } from '../machine'
import { startSystem } from '../system'
import { findK6 } from './binary'

// The guide's load test, written anew: sends from 10, 50 and 100 users, each answered 200 or 429 in less than 2 s.

const say = (sentence: string) => console.error(`[k6] ${sentence}`)

/** @returns whether every check passed */
async function runK6(binary: string, variables: NodeJS.ProcessEnv): Promise<boolean> {
  const script = join(__dirname, 'otp-send.js')
  // Without its own port for remote control, which another run may hold.
  const child = spawn(binary, ['run', '--quiet', '--no-usage-report', '--address', '', script], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...variables },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const stop = () => child.kill('SIGKILL')
  process.once('exit', stop)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    return code === 0
  } finally {
    process.off('exit', stop)
  }
}

async function main(): Promise<boolean> {
  const isQuick = process.argv.includes('--quick')
  const binary = await findK6(process.env, say)
  console.log(`${machineFacts()}\n`)
  const system = await startSystem()
  try {
    say(`sending to ${system.url} for ${isQuick ? '15 s' : '3 minutes'}`)
    return await runK6(binary, {
      OTPILOT_URL: system.url,
      OTP_API_KEY: system.key,
      ...(isQuick && { QUICK: '1' }),
    })
  } finally {
    await system.stop()
  }
}

main().then(
  (passed) => {
    console.log(passed ? 'Every check passed.' : 'Checks failed: see above.')
    process.exit(passed ? 0 : 1)
  },
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
