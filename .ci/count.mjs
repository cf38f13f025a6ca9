// Adds up the tests that jest counted in the files of a folder, and the commands that failed without counting.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder, ...failedCommands] = process.argv.slice(2)
const uncounted = new Set(failedCommands)
let passed = 0
let failed = 0
for (const file of readdirSync(folder)) {
  const run = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  const failures = run.numFailedTests + run.numRuntimeErrorTestSuites
  passed += run.numPassedTests
  failed += failures
  if (failures > 0) uncounted.delete(file.replace('.json', ''))
}
for (const command of failedCommands) console.log(`failed: ${command}`)
console.log(`${passed} passed, ${failed + uncounted.size} failed`)
process.exitCode = failedCommands.length + failed === 0 ? 0 : 1
