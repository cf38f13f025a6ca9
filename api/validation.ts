import type { z } from 'zod'
import type { ErrorCode } from '../core/error-code'
import { withoutNulls } from './absent'
import { type FieldFault, Problem } from './problem'

/**
 * Parses input by a schema of the contract.
 * @throws {Problem} INVALID_REQUEST, or the code of the rule that is broken, naming every field at fault without
 * repeating any value.
 */
export function readFields<T>(
  schema: z.ZodType<T>,
  input: unknown,
  where: 'body' | 'query' | 'path',
): T {
  const { success, data, error } = schema.safeParse(
    where === 'body' ? withoutNulls(schema, input) : input,
  )
  if (success) return data
  const errors = error.issues.flatMap((issue) => faultsOf(issue, where)).slice(0, 20)
  const [first] = errors
  const code = codeOf(error.issues)
  if (first && code) throw new Problem(code, { detail: `${first.message}.`, errors })
  const detail = first
    ? first.field === where
      ? `The ${where}: ${first.message}.`
      : `${first.field}: ${first.message}.`
    : `The ${where} is not valid.`
  throw new Problem('INVALID_REQUEST', { detail, errors })
}

/** That of the first rule that is broken, where all that is wrong are rules with a code. */
function codeOf(issues: readonly z.core.$ZodIssue[]): ErrorCode | undefined {
  const codes = issues.map((issue) =>
    issue.code === 'custom' ? (issue.params?.errorCode as ErrorCode | undefined) : undefined,
  )
  return codes.every((code) => code !== undefined) ? codes[0] : undefined
}

function faultsOf(issue: z.core.$ZodIssue, where: string): FieldFault[] {
  const field = fieldName(issue.path) || where
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: fieldName([...issue.path, key]) || where,
      message: 'unknown field',
    }))
  }
  if (issue.code === 'invalid_union')
    return [{ field, message: 'matches none of the allowed forms' }]
  if (issue.code === 'invalid_key') return [keyFault(issue)]
  return [{ field, message: sentenceOf(issue) }]
}

/** Of a record whose keys the caller chooses: which key breaks which rule. */
function keyFault({ path, issues }: z.core.$ZodIssueInvalidKey): FieldFault {
  const key = String(path.at(-1) ?? '')
  const rule = issues[0]?.message ?? 'is not allowed'
  return { field: fieldName(path.slice(0, -1)), message: `a key ${rule}${shownKey(key)}` }
}

/** A key that could be an address or a number is not repeated. */
const shownKey = (key: string): string =>
  key.length > 60 || /@|\d{4}|[\p{C}]/u.test(key) ? '' : `, ${JSON.stringify(key)} does not`

function sentenceOf(issue: z.core.$ZodIssue): string {
  if (
    issue.code === 'invalid_type' &&
    issue.input === undefined &&
    /received undefined/.test(issue.message)
  ) {
    return 'required'
  }
  return issue.message
    .replace(/^(Invalid (input|option|string)|Too (big|small)): /, '')
    .replace(/\.$/, '')
}

/** A name as the caller wrote it, unless it could be something else than a name (a number, a text). */
function fieldName(path: PropertyKey[]): string {
  const names = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`
    return typeof part === 'string' && /^[A-Za-z_][A-Za-z_]{0,39}$/.test(part) ? part : '(unnamed)'
  })
  return names.join('.').replaceAll('.[', '[')
}
