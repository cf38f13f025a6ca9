import { scopeNamed } from '../core/protection/scopes'
import type { DecisionView } from '../db/protection/decision-log'
import type { ProtectionAnswer } from './contract/blocks'

/** What the rules said about a send, without what stands for somebody's address. */
export const judgementOf = ({
  verdict,
  mode,
  findings,
}: Pick<DecisionView, 'verdict' | 'mode' | 'findings'>): ProtectionAnswer => ({
  verdict,
  mode,
  findings: findings.map(({ rule, scope, name, asks, count, limit }) => ({
    rule,
    scope,
    label: scopeNamed(name)?.label ?? null,
    asks,
    count,
    limit,
  })),
})
