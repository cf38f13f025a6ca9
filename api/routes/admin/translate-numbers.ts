import { charactersOf } from '../../../core/alphabet'
import type { App } from '../../../db/apps/apps'
import type { ListEntry } from '../../../db/abuse/lists'
import type { TestNumber } from '../../../db/abuse/test-numbers'
import { normaliseCode } from '../../../codes/code'
import type { ListEntryAnswer, ListEntryBody, TestNumberAnswer } from '../../contract/numbers'
import { readListValue, shownListValue } from '../../list-value'
import { Problem } from '../../problem'

// Between the words of the contract and those of the tables; the command line speaks the contract's too.

const refuse = (field: string, message: string) =>
  new Problem('INVALID_REQUEST', {
    detail: `${field}: ${message}.`,
    errors: [{ field, message }],
  })

/** @throws {Problem} for a value that is not of its kind, and for a time that is over. */
export function newEntryOf(
  { verdict, kind, value, note, expires_at: end }: ListEntryBody,
  defaultCountry: string | null,
) {
  const expiresAt = end === undefined ? undefined : new Date(end)
  if (expiresAt && expiresAt.getTime() <= Date.now())
    throw refuse('expires_at', 'must be in the future')
  return { ...readListValue(kind, value, defaultCountry), verdict, note, expiresAt }
}

export const entryAnswerOf = (entry: ListEntry): ListEntryAnswer => ({
  entry_id: entry.id,
  app_id: entry.appId,
  verdict: entry.verdict,
  kind: entry.kind,
  value: shownListValue(entry),
  note: entry.note,
  expires_at: entry.expiresAt?.toISOString() ?? null,
  created_at: entry.createdAt.toISOString(),
})

/** @throws {Problem} INVALID_REQUEST unless it could be a code of the app's. */
export function testCodeOf(
  code: string,
  { codeAlphabet, codeLength }: Pick<App, 'codeAlphabet' | 'codeLength'>,
): string {
  const normal = normaliseCode(code, codeAlphabet)
  const characters = charactersOf[codeAlphabet]
  if (normal.length === codeLength && [...normal].every((one) => characters.includes(one)))
    return normal
  throw refuse('code', `must be ${codeLength} characters of ${characters}, as the app’s codes are`)
}

export const testNumberAnswerOf = (
  appId: string,
  { id, phoneNumber, code, createdAt }: TestNumber,
): TestNumberAnswer => ({
  test_number_id: id,
  app_id: appId,
  phone_number: phoneNumber,
  code,
  created_at: createdAt.toISOString(),
})
