// Text that reaches people, as opposed to what is typed into a field (`fold.ts`): it keeps its spelling.

/** Line ends as Windows, old Macs, word processors and Unicode write them become `\n`; the mark at the start of a Windows file goes. */
export const foldLines = (text: string): string =>
  text.replace(/^\ufeff/, '').replace(/\r\n?|[\v\f\u0085\u2028\u2029]/g, '\n')

interface Class {
  pattern: RegExp
  /** What is said about a character of it, after its number. */
  why: string
}

const controls = {
  pattern: /(?![\t\n])\p{Cc}/u,
  why: 'a control character',
}
const turning = {
  pattern: /[\u202a-\u202e\u2066-\u2069]/u,
  why: 'which turns the direction of text around it',
}
const byteOrderMark = { pattern: /\ufeff/u, why: 'a byte order mark' }
const lineBreak = { pattern: /[\t\n\u2028\u2029]/u, why: 'a line break or tab' }
const invisible = {
  pattern: /[\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]/u,
  why: 'which takes no room and makes two names look alike',
}

const inText: readonly Class[] = [controls, turning, byteOrderMark]
const inLine: readonly Class[] = [...inText, lineBreak, invisible]

/**
 * What keeps a text of several lines from being sent. Marks of direction and joiners are part of how languages are
 * written; embeddings, overrides and isolates make a reader see something else than is there.
 */
export const faultOfText = (text: string): string | undefined => faultIn(text, inText)

/** As {@link faultOfText}, for names: on one line, and invisible characters only where a language is spelled with them. */
export const faultOfLine = (text: string): string | undefined =>
  faultIn(text, inLine, withoutOrthography(text))

function faultIn(text: string, classes: readonly Class[], looked = text): string | undefined {
  if (!text.isWellFormed()) return 'has half of a character (a lone surrogate)'
  for (const { pattern, why } of classes) {
    const [found] = pattern.exec(looked) ?? []
    if (found !== undefined) return `has ${numberOf(found)}, ${why}`
  }
  return undefined
}

const numberOf = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`

/** Letters of scripts without joiners: there one between them can only hide. */
const plainScripts = String.raw`\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}`
const joiningLetter = String.raw`(?![${plainScripts}])[\p{L}\p{M}]`
/** U+200C and U+200D inside a word; U+200D also at its end, as in Malayalam and in Arabic abbreviations. */
const joiners = new RegExp(
  String.raw`(?<=${joiningLetter})(?:[\u200c\u200d](?=${joiningLetter})|\u200d(?![\p{L}\p{M}]))`,
  'gu',
)
/** What emoji of several parts are joined with. */
const emojiJoiners =
  /(?<=\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\ufe0f)?)\u200d(?=\p{Extended_Pictographic})/gu
/** Scripts that put no spaces between words mark where a line may break. */
const wordBreaks =
  /(?<=[\p{Script=Khmer}\p{Script=Thai}\p{Script=Lao}\p{Script=Myanmar}])\u200b(?=[\p{Script=Khmer}\p{Script=Thai}\p{Script=Lao}\p{Script=Myanmar}])/gu
const rightToLeft =
  /(?=\p{L})[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u
const directionMarks = /[\u061c\u200e\u200f]/gu
/** What chooses between pictures and signs, or between forms of a letter, where there are such forms. */
const variations =
  /(?<=(?![0-9#*])\p{Emoji})[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)|(?<=[\p{Script=Han}\p{Script=Myanmar}\p{Script=Phags_Pa}])[\ufe00-\ufe02\u{e0100}-\u{e01ef}]/gu
const mongolian =
  /(?<=\p{Script=Mongolian})(?:[\u180b-\u180d\u180f]|\u180e(?=\p{Script=Mongolian}))/gu
/** Flags of a country's parts: a black flag, and the part's code in tags. */
const flagTags = /(?<=\u{1f3f4})[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{3,6}\u{e007f}/gu

/** The text without the invisible characters that belong to its spelling. */
function withoutOrthography(text: string): string {
  const spelled = [joiners, emojiJoiners, wordBreaks, variations, mongolian, flagTags].reduce(
    (rest, spelling) => rest.replace(spelling, ''),
    text,
  )
  return rightToLeft.test(spelled) ? spelled.replace(directionMarks, '') : spelled
}
