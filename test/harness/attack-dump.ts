import { allNumbers, bruteForce, digestsIn } from './brute-force'
import { dumpPostgres } from './leaks'

/**
 * Plays the thief of a database: tries all codes of six digits and the ten million numbers after a prefix against
 * everything in it that looks like a digest. `DATABASE_URL=… npm run attack:dump -- +23324`; takes a few minutes.
 */
async function main(): Promise<void> {
  const [prefix = '+23324'] = process.argv.slice(2)
  // eslint-disable-next-line node/no-process-env
  const { DATABASE_URL: url } = process.env
  if (!url) throw new Error('DATABASE_URL is not set: name the database to attack.')
  const digests = digestsIn(await dumpPostgres(url))
  console.log(`${digests.size} values look like digests.`)
  const nothingKnown = { texts: [], salts: [] }
  const found = bruteForce(digests, allNumbers(6), nothingKnown)
  console.log(`1,000,000 codes tried: ${found.length} found.`)
  for (let million = 0; million < 10; million++) {
    found.push(...bruteForce(digests, allNumbers(6, `${prefix}${million}`), nothingKnown))
    console.log(`${million + 1},000,000 of 10,000,000 numbers tried: ${found.length} found.`)
  }
  for (const { name } of found) console.log(`Gave way: ${name}`)
  process.exitCode = found.length === 0 ? 0 : 1
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
