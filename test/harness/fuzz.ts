import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/**
 * `npm run fuzz`: every test that draws its inputs, with a seed that was never used before and more calls of each
 * operation. Prints the seed; a failure shows the smallest input that was found.
 */
const root = resolve(__dirname, '..', '..')
const seed = process.env.OTPILOT_FUZZ_SEED ?? String(randomInt(2 ** 31 - 1))
const calls = process.env.OTPILOT_FUZZ_CALLS ?? '120'

const drawing = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => join('test', name))
  .filter((file) => readFileSync(join(root, file), 'utf8').includes("'../harness/properties'"))

const repeat = `OTPILOT_FUZZ_SEED=${seed} OTPILOT_FUZZ_CALLS=${calls} npm run fuzz`
console.log(`Drawing from seed ${seed}; to repeat this run: ${repeat}`)
const { status } = spawnSync(
  process.execPath,
  [join(root, 'node_modules', 'jest', 'bin', 'jest.js'), ...process.argv.slice(2), ...drawing],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, OTPILOT_FUZZ_SEED: seed, OTPILOT_FUZZ_CALLS: calls },
  },
)
console.log(status === 0 ? `Seed ${seed} found nothing.` : `To repeat what failed: ${repeat}`)
process.exitCode = status ?? 1
