import { moneyOf, type RequestMoney } from '../../core/spending/money'
import { protectionOf } from '../../core/protection/protection'
import type { RecipientKind } from '../../core/channel'
import type { Shortage } from '../../db/spending/spending'
import type { Routing } from '../plan-for'
import { Problem } from '../problem'
import type { AppKey } from '../route'

/** What the messages to a recipient cost, and what the app may spend, as the policy has it now. */
export function moneyFor(
  { policy }: Pick<Routing, 'policy'>,
  {
    app,
    kind,
    value,
    country,
  }: {
    app: string
    kind: RecipientKind
    value: string
    country: string | null
  },
): RequestMoney | undefined {
  const { budget } = protectionOf(policy, { app, country })
  const number = kind === 'phone' ? value : undefined
  return moneyOf(policy.costs, { kind, country, number, budget })
}

/** The answer to a send that the money does not last for. Strangers must not learn that they have spent it. */
export function overBudget(
  { window, retryAfterSeconds }: Shortage,
  key: AppKey,
  requestId?: string,
): Problem {
  if (key.publishable) return new Problem('OVERLOADED', { retryAfterSeconds })
  return new Problem('BUDGET_EXCEEDED', {
    ...(requestId !== undefined && { requestId }),
    retryAfterSeconds,
    detail: `The budget of this ${window} has no room for another message; it begins anew in ${retryAfterSeconds} s (UTC). GET /admin/budgets shows it.`,
  })
}
