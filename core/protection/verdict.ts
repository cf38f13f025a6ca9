import type { ProtectionMode, ProtectionSettings } from './protection'
import type { Finding } from './rules'

/** What becomes of a send. */
export const verdicts = ['allowed', 'challenge', 'blocked'] as const
export type Verdict = (typeof verdicts)[number]

/**
 * What findings mean for a send. Rules that are off found nothing, and those that only observe do not count.
 * @param isKnown what was found about the places that it belongs to does not hold it; what was found about itself does
 * @param isSolved a challenge was solved for it
 */
export function verdictOf(
  findings: readonly Finding[],
  {
    mode,
    rules,
    isKnown = false,
    isSolved,
  }: {
    mode: ProtectionMode
    rules: ProtectionSettings['rules']
    isKnown?: boolean | undefined
    isSolved: boolean
  },
): Verdict {
  const counted = findings.filter(
    ({ rule, scope }) => rules[rule] === undefined && !(isKnown && scope !== 'send'),
  )
  if (mode === 'observe' || counted.length === 0) return 'allowed'
  const blocks = mode !== 'challenge' && counted.some(({ asks }) => asks === 'block')
  if (blocks) return 'blocked'
  return isSolved ? 'allowed' : 'challenge'
}
