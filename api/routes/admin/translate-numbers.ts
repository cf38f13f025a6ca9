import { charactersOf } from '../../../core/verify/alphabet'
import { readTypedCode } from '../../../core/input/typed-code'
import { isTrivialCode } from '../../../core/verify/trivial-code'
import type { App } from '../../../db/apps/apps'
import type { ListEntry } from '../../../db/protection/lists'
import { maxTestNumbers, type TestNumber } from '../../../db/protection/test-numbers'
import { normaliseCode } from '../../../codes/code'
import type { ListEntryAnswer, ListEntryBody, TestNumberAnswer } from '../../contract/numbers'
import { readListValue, shownListValue } from '../../list-value'
import type { Reading } from '../../phone-number'
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
  by: Reading | null,
) {
  const expiresAt = end === undefined ? undefined : new Date(end)
  if (expiresAt && expiresAt.getTime() <= Date.now())
    throw refuse('expires_at', 'must be in the future')
  return { ...readListValue(kind, value, by), verdict, note, expiresAt }
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

/** @throws {Problem} INVALID_REQUEST unless it could be a code of the app's, and is none that anybody would try first. */
export function testCodeOf(
  code: string,
  { codeAlphabet, codeLength }: Pick<App, 'codeAlphabet' | 'codeLength'>,
): string {
  const normal = normaliseCode(readTypedCode(code), codeAlphabet)
  const characters = charactersOf[codeAlphabet]
  if (normal.length !== codeLength || ![...normal].every((one) => characters.includes(one)))
    throw refuse(
      'code',
      `must be ${codeLength} characters of ${characters}, as the app’s codes are`,
    )
  if (isTrivialCode(normal, characters))
    throw refuse(
      'code',
      `must not be one of the first that anybody would try, as 123456 and 000000 are; ${takeFictional}`,
    )
  return normal
}

const takeFictional =
  'use a fictional number, from a range that its country keeps for drama and tests'

/** @throws {Problem} INVALID_REQUEST where no test number was made of it. */
export function putOrRefuse(put: TestNumber | 'full' | 'known'): TestNumber {
  if (put === 'full')
    throw new Problem('INVALID_REQUEST', {
      detail: `An app has at most ${maxTestNumbers} test numbers: remove one first.`,
    })
  if (put === 'known')
    throw refuse(
      'phone_number',
      `somebody has verified a code at this number, and whoever knows a fixed code would pass as that user; ${takeFictional}`,
    )
  return put
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
