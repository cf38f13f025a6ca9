import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'

/** What `npm run check` runs, all of it even when something fails, so that one run shows everything. */
const checks: { name: string; program: string; args: string[] }[] = [
  { name: 'tsc', program: 'typescript/bin/tsc', args: ['--noEmit'] },
  { name: 'oxlint', program: 'oxlint/bin/oxlint', args: ['--type-aware'] },
  { name: 'prettier', program: 'prettier/bin/prettier.cjs', args: ['--check', '.'] },
  { name: 'knip', program: 'knip/bin/knip.js', args: [] },
]

const modules = resolve(__dirname, '..', 'node_modules')
// Some tools start others by `node` in their first line, which must be this Node and not an older one.
const env = { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env.PATH}` }

const failed = checks.filter(({ name, program, args }) => {
  console.log(`\n> ${[name, ...args].join(' ')}`)
  const run = spawnSync(process.execPath, [join(modules, program), ...args], {
    stdio: 'inherit',
    env,
  })
  return run.status !== 0
})
console.log(
  failed.length === 0
    ? '\nEvery check passed.'
    : `\nFailed: ${failed.map(({ name }) => name).join(', ')}.`,
)
process.exitCode = failed.length === 0 ? 0 : 1
