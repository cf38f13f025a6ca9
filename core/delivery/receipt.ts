/** Delivery states a provider can report about one attempt, in the product's own words. */
export const receiptStatuses = [
  'accepted',
  'sent',
  'delivered',
  'answered',
  'failed.retryable',
  'failed.permanent',
  'failed.config',
  'expired',
  'unknown',
] as const
export type ReceiptStatus = (typeof receiptStatuses)[number]

/** What a step must reach to count as succeeded. */
export const successRules = ['accepted', 'delivered', 'answered', 'verified'] as const
export type SuccessRule = (typeof successRules)[number]

/**
 * Receipts are duplicated and reordered, so an attempt's status only ever moves up in rank.
 * A failure outranks `sent`, never `delivered`.
 */
export const rankOf: Record<ReceiptStatus, number> = {
  unknown: 0,
  accepted: 1,
  sent: 2,
  'failed.retryable': 3,
  'failed.permanent': 3,
  'failed.config': 3,
  expired: 3,
  delivered: 4,
  answered: 5,
}

export const isFailure = (status: ReceiptStatus): boolean => rankOf[status] === 3

/** Whether `status` fulfils a step's success rule; `verified` is never fulfilled by a receipt. */
export function satisfies(rule: SuccessRule, status: ReceiptStatus): boolean {
  if (rule === 'verified' || isFailure(status)) return false
  return rankOf[status] >= rankOf[rule]
}
