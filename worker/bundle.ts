import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'

/** Where the production image keeps the workflow code, bundled once at build time. */
export const bundlePath = join(__dirname, 'workflow-bundle.js')

/** What workflow code is made of. */
export const workflowSources = {
  workflowsPath: require.resolve('../workflows'),
  workflowInterceptorModules: [require.resolve('../workflows/undecodable')],
}

/** Bundles the workflow code into a file: a worker that finds one starts in a second. */
async function writeBundle(path: string): Promise<void> {
  const { code } = await bundleWorkflowCode({
    ...workflowSources,
    logger: new DefaultLogger('WARN'),
  })
  writeFileSync(path, code)
}

if (require.main === module) void writeBundle(process.argv[2] ?? bundlePath)
