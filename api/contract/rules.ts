import { z } from 'zod'
import type { ErrorCode } from '../../core/error-code'

/**
 * The keywords of JSON Schema that rules are written in, with their meaning there. Each looks at one type of value and
 * lets values of other types pass. Lengths are in UTF-16 units, as everywhere in the contract.
 */
export interface Condition {
  const?: string | boolean | null
  enum?: readonly string[]
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  /** Of the whole text, from `^` to `$`: some generators match from the beginning, some the whole. */
  pattern?: string
  uniqueItems?: true
  items?: Condition
  maxProperties?: number
  required?: readonly string[]
  properties?: Readonly<Record<string, Condition>>
  not?: Condition
  oneOf?: readonly Condition[]
  if?: Condition
  then?: Condition
}

/** What holds beyond the types of a value. */
export interface Rule {
  must: Condition
  /** What is said where it does not hold. */
  message: string
  /** The member that is at fault; the value itself when absent. */
  member?: string
  /** What the call is refused with when nothing else is wrong, its message being a sentence then; else INVALID_REQUEST. */
  code?: ErrorCode
}

/**
 * A body with rules about several of its members together.
 *
 * The document has them under `if` and `then`, a condition that every object meets, since generators of clients read a
 * `oneOf`, `anyOf`, `allOf` or `not` beside `properties` as one of several types: openapi-generator 7.14 then drops the
 * members or what is nested in them. What is under `then` only validators read.
 */
export const withRules = <T extends z.ZodType>(schema: T, ...rules: readonly Rule[]): T =>
  checked(schema, rules).meta(ofType('object', rules))

/** A list with rules about its items together: as {@link withRules}, since `uniqueItems` makes sets of generated lists. */
export const listWithRules = <T extends z.ZodType>(schema: T, ...rules: readonly Rule[]): T =>
  checked(schema, rules).meta(ofType('array', rules))

/** A text that is one of many: as {@link withRules}, since generators make a type with a member for each. */
export const textWithRules = <T extends z.ZodType>(schema: T, ...rules: readonly Rule[]): T =>
  checked(schema, rules).meta(ofType('string', rules))

/** A text or number with rules of its own, which generators may read. */
export const withBounds = <T extends z.ZodType>(schema: T, ...rules: readonly Rule[]): T =>
  checked(schema, rules).meta(Object.fromEntries(rules.flatMap(({ must }) => Object.entries(must))))

const ofType = (type: 'object' | 'array' | 'string', rules: readonly Rule[]) => {
  const [one = {}, ...others] = rules.map(({ must }) => must)
  return implies({ type }, others.length === 0 ? one : { allOf: [one, ...others] })
}

/** Where the first holds, the second has to. */
export const implies = <Premise, Conclusion>(premise: Premise, conclusion: Conclusion) => ({
  if: premise,
  // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema: nothing awaits a schema.
  then: conclusion,
})

const checked = <T extends z.ZodType>(schema: T, rules: readonly Rule[]): T =>
  schema.superRefine((value, context) => {
    for (const { must, message, member, code } of rules)
      if (!holds(must, value))
        context.addIssue({
          code: 'custom',
          message,
          path: member === undefined ? [] : [member],
          params: { errorCode: code },
        })
  })

/** Whether a value meets a condition, as JSON Schema has it. */
function holds(condition: Condition, value: unknown): boolean {
  const { not, oneOf, if: premise, then: conclusion = {} } = condition
  if (condition.const !== undefined && value !== condition.const) return false
  if (condition.enum && !condition.enum.some((each) => each === value)) return false
  if (not && holds(not, value)) return false
  if (oneOf && oneOf.filter((each) => holds(each, value)).length !== 1) return false
  if (premise && holds(premise, value) && !holds(conclusion, value)) return false
  if (typeof value === 'number') return isWithin(condition, value)
  if (typeof value === 'string') return isLike(condition, value)
  if (Array.isArray(value)) return holdsOfItems(condition, value)
  if (typeof value === 'object' && value !== null) return holdsOfMembers(condition, value)
  return true
}

const isWithin = (
  { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY }: Condition,
  value: number,
): boolean => value >= minimum && value <= maximum

const isLike = (
  { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern }: Condition,
  text: string,
): boolean =>
  text.length >= minLength &&
  text.length <= maxLength &&
  (pattern === undefined || new RegExp(pattern, 'u').test(text))

const holdsOfItems = ({ uniqueItems, items = {} }: Condition, list: readonly unknown[]): boolean =>
  (!uniqueItems || new Set(list).size === list.length) && list.every((item) => holds(items, item))

function holdsOfMembers(condition: Condition, value: object): boolean {
  const { required = [], properties = {}, maxProperties = Number.POSITIVE_INFINITY } = condition
  // A member that is undefined is not there in JSON.
  const members = new Map(Object.entries(value).filter(([, member]) => member !== undefined))
  return (
    members.size <= maxProperties &&
    required.every((name) => members.has(name)) &&
    Object.entries(properties).every(([name, each]) =>
      members.has(name) ? holds(each, members.get(name)) : true,
    )
  )
}

const allOf = (names: readonly string[]): string =>
  new Intl.ListFormat('en', { type: 'conjunction' }).format(names)
export const anyOf = (names: readonly string[]): string =>
  new Intl.ListFormat('en', { type: 'disjunction' }).format(names)

/** Of these members exactly one is given. */
export const exactlyOneOf = (...names: readonly [string, string, ...string[]]): Rule => ({
  must: { oneOf: names.map((name) => ({ required: [name] })) },
  message: `give exactly one of ${allOf(names)}`,
})

/** Two members of which one at most is given. */
export const notBoth = (member: string, other: string): Rule => ({
  must: { not: { required: [member, other] } },
  message: `give this or ${other}, not both`,
  member,
})

/** A member that is given with these values of another one, and with no others. */
export const givenExactlyWith = <Value extends string>(
  member: string,
  other: string,
  values: { wanted: readonly Value[]; unwanted: readonly Value[] },
): Rule[] => [
  {
    must: implies({ properties: { [other]: { enum: values.wanted } } }, { required: [member] }),
    message: `required with the ${other} ${anyOf(values.wanted)}`,
    member,
  },
  {
    must: implies(
      { properties: { [other]: { enum: values.unwanted } } },
      { not: { required: [member] } },
    ),
    message: `not with the ${other} ${anyOf(values.unwanted)}`,
    member,
  },
]

/** No item comes twice. */
export const noneTwice = (what: string): Rule => ({
  must: { uniqueItems: true },
  message: `names a ${what} twice`,
})
