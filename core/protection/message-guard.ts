import type { ProtectionMode, ProtectionSettings } from './protection'

/** What a standing block asks of the sends that it is about. */
export const blockAsks = ['block', 'challenge'] as const
export type BlockAsks = (typeof blockAsks)[number]

/**
 * What each message of a request is held against when its call is claimed, as the newest send of it decided. Its row
 * keeps it until the end.
 */
export interface MessageGuard {
  /** Counts the messages to its number or mailbox; absent where none is counted. */
  window?: MessageWindow | undefined
  /** The kinds of blocks that keep the next channel from being tried. */
  blocks: BlockAsks[]
  /** Whether lists do. */
  lists: boolean
}

/** A row of `send_windows`, by name, and what it may hold: `maxima[n]` messages in any `seconds[n]`. */
export interface MessageWindow {
  name: string
  /** What it was called under keys that are being replaced: that counts too. */
  before: string[]
  maxima: number[]
  seconds: number[]
}

/** The blocks that a send heeds: what it passed when it was sent does not stop its next channel. */
export function heededBlocks({
  mode,
  rules,
  isTrusted,
  isKnown = false,
  isSolved,
}: {
  mode: ProtectionMode
  rules: ProtectionSettings['rules']
  isTrusted: boolean
  isKnown?: boolean | undefined
  isSolved: boolean
}): BlockAsks[] {
  if (isTrusted || isKnown || mode === 'observe' || rules.blocked !== undefined) return []
  if (!isSolved) return [...blockAsks]
  return mode === 'challenge' ? [] : ['block']
}
