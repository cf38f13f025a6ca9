import { findAttemptById, recordReceipt } from '../db/delivery/receipts'
import type { Sent } from '../providers/provider'
import type { ActivityDeps } from './deps'

/** Records what a provider reported in its answer to the send, as a receipt of its own. */
export async function recordReport(
  { db, wake }: Pick<ActivityDeps, 'db' | 'wake'>,
  { attemptId, provider }: { attemptId: string; provider: string },
  report: NonNullable<Sent['report']>,
): Promise<void> {
  const attempt = await findAttemptById(db, { provider, attemptId })
  if (!attempt) return
  const receipt = { ...report, eventKey: attemptId }
  const recorded = await recordReceipt(db, { attempt, receipt, actor: 'worker' })
  if (recorded.wake) void wake(recorded.wake)
}
