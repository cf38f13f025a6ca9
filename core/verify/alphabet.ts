/** What a code is made of. `alphanumeric` leaves out the letters and digits that people mistake for each other. */
export const alphabets = ['digits', 'alphanumeric'] as const
export type Alphabet = (typeof alphabets)[number]

export const charactersOf = {
  digits: '0123456789',
  alphanumeric: '23456789ABCDEFGHJKMNPQRSTUVWXYZ',
} as const satisfies Record<Alphabet, string>

/** How many codes of a length there are: what a guess is measured against. */
export const codeSpace = (alphabet: Alphabet, length: number): number =>
  charactersOf[alphabet].length ** length
