import { protectionOf } from '../core/protection/protection'
import { readBudgets, readSpendingParts } from '../db/spending/spending'
import type { Queries } from '../db'
import type { BudgetsAnswer } from './contract/budgets'
import type { Routing } from './plan-for'

const mostParts = 100

/**
 * What an app has spent and may spend, as the policy has it now.
 * @param kinds of keys: live ones, others, or both
 */
export async function reportBudgets(
  db: Queries,
  { policy }: Pick<Routing, 'policy'>,
  { appId, kinds }: { appId: string; kinds: readonly boolean[] },
): Promise<BudgetsAnswer> {
  const { budget } = protectionOf(policy, { app: appId, country: null })
  const currency = policy.costs?.currency
  const budgets: BudgetsAnswer['budgets'] = []
  const spending: BudgetsAnswer['spending'] = []
  for (const live of kinds) {
    const windows = currency ? await readBudgets(db, { appId, live, currency, budget }) : []
    for (const { resetsAt, ...window } of windows)
      budgets.push({
        live,
        ...window,
        currency: currency ?? '',
        resets_at: resetsAt.toISOString(),
      })
    for (const part of await readSpendingParts(db, { appId, live }, mostParts))
      spending.push({ live, ...part })
  }
  return { app_id: appId, budgets, spending }
}
