import type { App } from '../db/apps/apps'
import type { Queries } from '../db/index'
import { failNotStarted, markQueued, markStarted } from '../db/requests/starts'
import type { SendDecision } from '../db/requests/sends'
import { versionOf } from '../db/requests/status'
import type { ApiDeps } from './deps'
import { EngineDown, EngineOverloaded } from '../temporal'
import { Problem } from './problem'

type Opened = Extract<SendDecision, { requestId: string }>

/**
 * Starts the run of a request that was just committed. What cannot be started is closed, or queued where the
 * app chose so: a caller is never told "sent" of something that nobody will send.
 * @param withinMs how long the start may take; as long as usual when absent
 * @throws {Problem} SERVICE_UNAVAILABLE or OVERLOADED; the row, its idempotency key and its share of the limit are
 * given back then.
 */
export async function startRun(
  { db, engine }: Pick<ApiDeps, 'db' | 'engine'>,
  opened: Opened,
  { queueWhenDown }: Pick<App, 'queueWhenDown'>,
  withinMs?: number,
): Promise<'sent' | 'queued'> {
  if (!opened.needsStart) return opened.queued ? 'queued' : 'sent'
  const { requestId, pageId: shownId = requestId } = opened
  try {
    const { runId } = await engine.start(opened, withinMs)
    if (await markStarted(db, requestId, runId)) return 'sent'
    // Not by us: an equal call was faster, or the request ended meanwhile.
    if (await isLive(db, requestId)) return 'sent'
    throw unavailable(shownId)
  } catch (error) {
    const isDown = error instanceof EngineDown
    if (!isDown && !(error instanceof EngineOverloaded)) throw error
    if (isDown && queueWhenDown && (await markQueued(db, requestId))) return 'queued'
    const closed = await failNotStarted(db, requestId, 'api')
    // Not closed by us: an equal call, or the sweeper, had it started; or an equal call had it closed.
    if (!closed && (await isLive(db, requestId))) return 'sent'
    if (isDown) throw unavailable(shownId, error)
    throw new Problem('OVERLOADED', { requestId: shownId, retryAfterSeconds: 1, cause: error })
  }
}

async function isLive(db: Queries, requestId: string): Promise<boolean> {
  const seen = await versionOf(db, requestId)
  return seen !== undefined && !seen.final
}

const unavailable = (requestId: string, cause?: unknown) =>
  new Problem('SERVICE_UNAVAILABLE', { requestId, retryAfterSeconds: 1, cause })
