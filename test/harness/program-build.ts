import { spawnSync } from 'node:child_process'
import { copyFileSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bundlePath } from './workflow-bundle'

const root = resolve(__dirname, '../..')

/**
 * Compiles the programs as a production image has them, workflow bundle included, into `folder`: a killed
 * process is then back in about a second, which leaves the fault to be looked at and not the loading of sources.
 */
export function buildPrograms(folder: string): (name: 'api' | 'worker') => string {
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/typescript/bin/tsc'),
      ...['-p', join(root, 'tsconfig.build.json'), '--outDir', folder, '--noCheck'],
    ],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(`The programs do not compile:\n${stdout}`)
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  copyFileSync(bundlePath(), join(folder, 'worker', 'workflow-bundle.js'))
  return (name) => join(folder, name, 'main.js')
}
