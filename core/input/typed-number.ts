import { foldTyped } from './fold'

/**
 * What people put between digits: spaces, dashes of every length, dots, parentheses, brackets, and a tilde for a pause.
 * Japanese keyboards type the sign of a long vowel for a dash.
 */
const separators = /[\s.()[\]~\u223c\u2053·•・ー\p{Pd}\u2212]/gu
/** Germans and Austrians write one behind the area code. What follows is then no second number, nor an extension. */
const slash = /^([^/]*)\/(?=[^/]*$)(?=(?:\D*\d){5})/
/** A number is copied out of a link, of a table's cell or of a sentence with what stands around it there. */
const before = /^\s*(?:tel:|["'<\p{Pi}\p{Pf}])\s*/iu
const after = /[\s"'>,;:!?\p{Pi}\p{Pf}]+$/u

/** A phone number, or a part of one, without what people put between and around its digits. */
export const withoutSeparators = (text: string): string =>
  foldTyped(text)
    .replace(before, '')
    .replace(after, '')
    .replace(slash, '$1')
    .replace(separators, '')
