import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'

/** Where the production image keeps the workflow code, bundled once at build time. */
export const bundlePath = join(__dirname, 'workflow-bundle.js')

/** Bundles the workflow code into a file: a worker that finds one starts in a second. */
async function writeBundle(path: string): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('../workflows'),
    logger: new DefaultLogger('WARN'),
  })
  writeFileSync(path, code)
}

if (require.main === module) void writeBundle(process.argv[2] ?? bundlePath)
