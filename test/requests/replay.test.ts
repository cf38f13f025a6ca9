import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { DeterminismViolationError } from '@temporalio/workflow'
import { historyFromJSON } from '@temporalio/common/lib/proto-utils'
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import { bundlePath } from '../harness/workflow-bundle'

Runtime.install({
  logger: new DefaultLogger('ERROR'),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
})

const folder = join(__dirname, '..', 'histories')
const saved = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.json'),
)
const historyOf = (file: string): unknown => JSON.parse(readFileSync(join(folder, file), 'utf8'))
/** A run reads its own id, which is in the first event. */
const idIn = (history: unknown) =>
  historyFromJSON(history).events?.[0]?.workflowExecutionStartedEventAttributes?.workflowId
const replay = (history: unknown) =>
  Worker.runReplayHistory(
    { workflowBundle: { codePath: bundlePath() } },
    historyFromJSON(history),
    idIn(history) ?? undefined,
  )

describe('histories of runs that may be alive when this version is deployed', () => {
  test('every outcome is kept, of the newest version too', () => {
    const keptOf = (version: string) => readdirSync(join(folder, version))
    expect(keptOf('v0.1')).toHaveLength(19)
    expect(keptOf('v0.3')).toEqual(
      expect.arrayContaining([
        ...[...keptOf('v0.1'), ...keptOf('v0.2')],
        'terminated-resumed-verified.json',
      ]),
    )
  })

  test.each(saved)('%s replays', async (file) => {
    await expect(replay(historyOf(file))).resolves.toBeUndefined()
  })

  test('a history that this workflow cannot have made is refused', async () => {
    const file = saved.find((name) => name.includes('delivered-verified')) ?? ''
    const text = readFileSync(join(folder, file), 'utf8')
    expect(text).toContain('"name": "sendCode"')
    const forged: unknown = JSON.parse(
      text.replaceAll('"name": "sendCode"', '"name": "sendPostcard"'),
    )
    await expect(replay(forged)).rejects.toThrow(DeterminismViolationError)
  })
})
