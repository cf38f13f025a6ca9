import type { Step } from './plan'
import type { ReceiptStatus } from './receipt'

/** What a signal tells a run: committed in Postgres before, so a lost one costs time, never correctness. */
export type Notice =
  | { signal: 'receipt'; attempt: number; step: number; status: ReceiptStatus }
  | { signal: 'verified' }
  | { signal: 'cancelled' }
  | { signal: 'locked' }
  | { signal: 'next'; step: number }
  | { signal: 'resend'; seq: number; step: Step }

/** A notice for one run. `dueAt` is the commit's mark on the row: clearing it clears no later one. */
export type Wake = { requestId: string; dueAt: Date } & Notice
