import { Context, heartbeat } from '@temporalio/activity'
import { settleSends } from '../db/protection/decisions'
import type { ActivityDeps } from './deps'

/** Messages that one page settles. */
const page = 500

/** What a look at traffic came to. */
export interface Watched {
  /** Messages whose code had its time. */
  settled: number
  /** Blocks that their scopes got for it. */
  raised: number
}

/** Counts what had its time and did not come back, page by page, and judges by the slow rules. */
export const watchAbuse = (deps: ActivityDeps) => async (): Promise<Watched> => {
  const { cancellationSignal } = Context.current()
  const watched: Watched = { settled: 0, raised: 0 }
  for (let count = page; count >= page;) {
    const settled = await settleSends(deps.db, page)
    count = settled.count
    watched.settled += count
    watched.raised += settled.raised
    heartbeat()
    cancellationSignal.throwIfAborted()
  }
  if (watched.raised > 0)
    deps.log.warn({ ...watched }, 'blocks were raised: codes do not come back')
  return watched
}
