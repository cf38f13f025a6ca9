import type { ProtectionMode, ProtectionSettings } from './protection'
import type { Finding } from './rules'

/** What becomes of a send. */
export const verdicts = ['allowed', 'challenge', 'blocked'] as const
export type Verdict = (typeof verdicts)[number]

/**
 * What findings mean for a send. Rules that are off found nothing, and those that only observe do not count.
 * @param isSolved a challenge was solved for it
 */
export function verdictOf(
  findings: readonly Finding[],
  {
    mode,
    rules,
    isSolved,
  }: { mode: ProtectionMode; rules: ProtectionSettings['rules']; isSolved: boolean },
): Verdict {
  const counted = findings.filter(({ rule }) => rules[rule] === undefined)
  if (mode === 'observe' || counted.length === 0) return 'allowed'
  const blocks = mode !== 'challenge' && counted.some(({ asks }) => asks === 'block')
  if (blocks) return 'blocked'
  return isSolved ? 'allowed' : 'challenge'
}
