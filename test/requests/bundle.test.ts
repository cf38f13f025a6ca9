import { expect, test } from '@jest/globals'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'
import { workflowSources } from '../../worker/bundle'

test('workflows stay inside the isolate: their bundle needs no Node module and none of our secrets', async () => {
  const { code } = await bundleWorkflowCode({
    ...workflowSources,
    logger: new DefaultLogger('ERROR'),
  })
  for (const folder of ['codes', 'db', 'providers', 'api', 'activities', 'config'])
    expect(code).not.toMatch(new RegExp(`"\\./${folder}/[^"]+\\.ts"`))
  expect(code).toContain('./core/')
})
