import { condition } from '@temporalio/workflow'
import { record } from './activities'
import type { Run } from './run'

/** Asks Postgres about what signals have said. One that says more than is recorded there changes nothing. */
export async function look(run: Run): Promise<void> {
  const { requestId } = run.input
  const { mustLook, mayBeOver } = run.takeHints()
  if (mayBeOver) {
    const { state } = await record(run, (asked) => asked.conclude(requestId))
    if (state !== 'pending') run.noteConcluded(state)
  }
  if (mustLook && (run.believes || !run.isOver()))
    run.absorb(await record(run, (asked) => asked.readProgress(requestId)))
}

/** Waits until `done`; looks at Postgres meanwhile whenever a signal asks for it. */
export async function waitLooking(run: Run, done: () => boolean): Promise<void> {
  while (!done()) {
    await condition(() => done() || run.hasHint())
    if (!done()) await look(run)
  }
}
