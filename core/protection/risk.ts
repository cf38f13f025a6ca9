/** What a caller says is at stake: it decides which channel goes first, and how long a code lives. */
export const risks = ['low', 'normal', 'high'] as const
export type Risk = (typeof risks)[number]
