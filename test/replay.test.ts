import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { DeterminismViolationError } from '@temporalio/workflow'
import { historyFromJSON } from '@temporalio/common/lib/proto-utils'
import { Worker } from '@temporalio/worker'
import { bundlePath } from './harness/workflow-bundle'

const folder = join(__dirname, 'histories')
const saved = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.json'),
)
const historyOf = (file: string): unknown => JSON.parse(readFileSync(join(folder, file), 'utf8'))
const replay = (history: unknown) =>
  Worker.runReplayHistory(
    { workflowBundle: { codePath: bundlePath() } },
    historyFromJSON(history),
    (history as { workflowId?: string }).workflowId,
  )

describe('histories of runs that may be alive when this version is deployed', () => {
  test('every outcome is kept', () => {
    expect(saved.length).toBeGreaterThanOrEqual(19)
  })

  test.each(saved)('%s replays', async (file) => {
    await expect(replay(historyOf(file))).resolves.toBeUndefined()
  })

  test('a history that this workflow cannot have made is refused', async () => {
    const file = saved.find((name) => name.includes('delivered-verified'))
    const history = historyOf(file ?? '') as { events: { eventType: string }[] }
    const timer = history.events.findIndex(
      ({ eventType }) => eventType === 'EVENT_TYPE_TIMER_STARTED',
    )
    expect(timer).toBeGreaterThan(0)
    const [event] = history.events.splice(timer, 1)
    expect(event?.eventType).toBe('EVENT_TYPE_TIMER_STARTED')
    await expect(replay(history)).rejects.toThrow(DeterminismViolationError)
  })
})
