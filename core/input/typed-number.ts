import { foldTyped } from './fold'

/** What people put between digits: spaces, dashes of every length, dots, parentheses, and a tilde for a pause. */
const separators = /[\s.()~\p{Pd}\u2212]/gu

/** A phone number, or a part of one, without what people put between its digits. */
export const withoutSeparators = (text: string): string => foldTyped(text).replace(separators, '')
