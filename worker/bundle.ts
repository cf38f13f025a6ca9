import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleWorkflowCode } from '@temporalio/worker'

/** Where the production image keeps the workflow code, bundled once at build time. */
export const bundlePath = join(__dirname, 'workflow-bundle.js')

async function main(): Promise<void> {
  const { code } = await bundleWorkflowCode({ workflowsPath: require.resolve('../workflows') })
  writeFileSync(bundlePath, code)
}

if (require.main === module) void main()
