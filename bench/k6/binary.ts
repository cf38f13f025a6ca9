import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cacheOf, goInstall, isExecutable, onPath } from '../../cli/go-install'

const version = '1.4.0'

/**
 * Finds k6: K6_BIN, PATH, the cache, a build with Go.
 * @throws with what to do when none of them works
 */
export async function findK6(
  env: NodeJS.ProcessEnv,
  say: (sentence: string) => void,
): Promise<string> {
  if (env.K6_BIN) {
    if (isExecutable(env.K6_BIN)) return env.K6_BIN
    throw new Error(`K6_BIN names ${env.K6_BIN}, which is not an executable file.`)
  }
  const folder = cacheOf(env, `k6-${version}`)
  const kept = join(folder, 'k6')
  const known = onPath(env, 'k6') ?? (isExecutable(kept) ? kept : undefined)
  if (known) return known
  mkdirSync(folder, { recursive: true })
  // Made elsewhere and renamed, so that a killed build leaves no half program in the cache.
  const work = mkdtempSync(join(folder, 'work-'))
  const clean = () => rmSync(work, { recursive: true, force: true })
  process.once('exit', clean)
  try {
    const goPackage = `go.k6.io/k6@v${version}`
    await goInstall({ env, say }, { name: 'k6', version, goPackage, work, kept: folder })
    renameSync(join(work, 'k6'), kept)
    return kept
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(
      `There is no k6 to use. ${reason} Install k6 (https://k6.io) and put it on PATH, or name it in K6_BIN.`,
      { cause: error },
    )
  } finally {
    process.off('exit', clean)
    clean()
  }
}
