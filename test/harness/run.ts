import { spawn } from 'node:child_process'
import { resolve } from 'node:path'

const root = resolve(__dirname, '..', '..')

/** Runs a program from the top of the repository; its whole standard output is read as JSON. */
export async function runForJson(
  [command = '', ...args]: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; answer: Record<string, unknown>; errors: string }> {
  const child = spawn(command, args, {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk) => (output += String(chunk)))
  child.stderr.on('data', (chunk) => (errors += String(chunk)))
  const code = await new Promise<number | null>((done, fail) => {
    child.once('error', fail).once('close', done)
  })
  if (output === '') throw new Error(`${command} ${args[0]} printed nothing: ${errors}`)
  return { code, answer: JSON.parse(output) as Record<string, unknown>, errors }
}
