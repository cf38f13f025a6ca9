/**
 * A recipient is known for so many days after a code came back from it, in the environment of that code; not any more,
 * until the next code, once so many messages to it within so many seconds brought none back. Blocks do not hold a known recipient of a
 * back end: it has users to lose. It is counted all the same: a fraud ring can complete one code, too.
 */
export const knownRecipient = { days: 90, unconverted: 3, unconvertedWithin: 86_400 } as const
