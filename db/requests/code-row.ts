import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { deriveCode } from '../../codes/code'
import type { Keyring } from '../../codes/keyring'
import { sealedIn, unseal } from '../../codes/seal'
import { type Alphabet, alphabets } from '../../core/verify/alphabet'

/** Of a row with {@link codeColumns}. */
export const codeShape = {
  salt: z.instanceof(Buffer),
  codeKid: z.string(),
  codeGeneration: z.int(),
  codeLength: z.int(),
  codeAlphabet: z.enum(alphabets),
}

/** What the row of a live request keeps of its code. */
export interface CodeRow {
  salt: Buffer
  codeKid: string
  codeGeneration: number
  codeLength: number
  codeAlphabet: Alphabet
}

/** The columns of a {@link CodeRow}, of a table or statement that has them. */
export const codeColumns = (
  row: SQL,
): SQL => sql`${row}.code_salt as salt, ${row}.code_kid as "codeKid",
  ${row}.code_generation as "codeGeneration", ${row}.code_length as "codeLength", ${row}.code_alphabet as "codeAlphabet"`

/** The code in clear. @throws {UnknownKey} when its key is not known here */
export const codeIn = (keyring: Keyring, requestId: string, row: CodeRow): string =>
  deriveCode(keyring, {
    requestId,
    generation: row.codeGeneration,
    kid: row.codeKid,
    salt: row.salt,
    length: row.codeLength,
    alphabet: row.codeAlphabet,
  })

/** The caller's own text, where the request came with one. @throws {UnknownKey} as {@link codeIn} does */
export const messageIn = (
  keyring: Keyring,
  requestId: string,
  {
    messageCiphertext: ciphertext,
    sealKid: kid,
  }: { messageCiphertext: Buffer | null; sealKid: string | null },
): string | undefined =>
  ciphertext && kid ? unseal(keyring, { ciphertext, kid }, sealedIn.message(requestId)) : undefined
