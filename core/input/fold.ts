/**
 * What takes no room: direction marks, zero-width characters, soft hyphens, variation selectors, and the frame of a
 * keycap emoji. Phones and chat programs put such marks around what is copied out of them.
 */
const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}\u20e3]/gu
/** Those of them that are part of a word's spelling, so that two names may differ in them alone. */
const invisibleButJoiners = /(?![\u200c\u200d])[\p{Cf}\p{Default_Ignorable_Code_Point}\u20e3]/gu
const foreignDigit = /(?![0-9])\p{Nd}/gu
/** The next line of mainframes, and the blank of Braille: blanks that the pattern `\s` does not know. */
const otherBlanks = /[\u0085\u2800]/gu

/**
 * Makes what people type or paste into a field comparable: compatibility forms such as full-width letters become plain
 * ones, decimal digits of every script become ASCII, and invisible characters are dropped. Only for numbers, codes,
 * addresses and the like: prose is spelled with some of these characters (see `prose.ts`).
 */
export const foldTyped = (text: string): string => fold(text, invisible)

/** As {@link foldTyped}, for host names: internationalised ones may hold the two joiners. */
export const foldExceptJoiners = (text: string): string => fold(text, invisibleButJoiners)

const fold = (text: string, dropped: RegExp): string =>
  text
    .normalize('NFKC')
    .replace(dropped, '')
    .replace(otherBlanks, ' ')
    .replace(foreignDigit, asciiDigit)

/**
 * Unicode assigns the ten digits of a script in one run, from zero to nine: so a digit's value is the number of digits
 * before it in its run.
 */
function asciiDigit(digit: string): string {
  const point = digit.codePointAt(0) ?? 0
  let value = 0
  while (/\p{Nd}/u.test(String.fromCodePoint(point - value - 1))) value += 1
  return String(value % 10)
}
