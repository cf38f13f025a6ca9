import { findAttemptById, recordReceipt } from '../db/attempts/receipts'
import { testNumberAccount } from '../providers/test-number'
import type { ActivityDeps } from './deps'

/** Reports a message to a test number as delivered, or its call as answered: nobody else ever will. */
export async function reportDelivered(
  { db, wake }: Pick<ActivityDeps, 'db' | 'wake'>,
  { attemptId }: { attemptId: string },
): Promise<void> {
  const provider = testNumberAccount.name
  const attempt = await findAttemptById(db, { provider, attemptId })
  if (!attempt) return
  const status = attempt.success === 'answered' ? 'answered' : 'delivered'
  const receipt = { status, rawStatus: 'test number', eventKey: attemptId } as const
  const recorded = await recordReceipt(db, { attempt, receipt, actor: 'worker' })
  if (recorded.wake) void wake(recorded.wake)
}
