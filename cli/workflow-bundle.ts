import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { DataFolder } from './data-folder'

const entry = join(resolve(__dirname, '..'), 'worker', 'bundle.ts')
const patienceMs = 120_000

/**
 * Bundles the workflow code in a process of its own while other things start. Made anew at every start, so it is
 * never older than the sources; a worker that is restarted need not do it again.
 */
export async function bundleWorkflows({ path }: DataFolder): Promise<string> {
  const file = join(path, 'workflow-bundle.js')
  await promisify(execFile)(process.execPath, [...process.execArgv, entry, file], {
    timeout: patienceMs,
  })
  return file
}
