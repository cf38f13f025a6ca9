import { foldTyped } from './fold'

const separators = /[\s\p{Pd}\u2212]/gu
/** A code is copied out of a sentence with the full stop, the quotation marks or the brackets beside it. */
const around = /^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu

/** A code without what people and keyboards add to it. What is left may still be no code. */
export const readTypedCode = (text: string): string =>
  foldTyped(text).replace(separators, '').replace(around, '')
