import { z } from 'zod'

/**
 * Input without the members that are null where the schema lets them be absent and gives null no meaning of its own:
 * many clients write every member, and null for those that are not set. A member that is required keeps its null, and
 * with it the refusal. Entries of records are optional by nature.
 */
export function withoutNulls(schema: z.core.$ZodType, input: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return withoutNulls(schema.unwrap(), input)
  if (schema instanceof z.ZodPipe) return withoutNulls(schema.in, input)
  if (Array.isArray(input))
    return schema instanceof z.ZodArray
      ? input.map((each) => withoutNulls(schema.element, each))
      : input
  if (typeof input !== 'object' || input === null) return input
  if (schema instanceof z.ZodUnion) {
    const read = schema.options.map((option) => ({ option, given: withoutNulls(option, input) }))
    return read.find(({ option, given }) => z.safeParse(option, given).success)?.given ?? input
  }
  if (schema instanceof z.ZodRecord) return membersOf(input, () => schema.valueType, true)
  if (!(schema instanceof z.ZodObject)) return input
  const shape: Readonly<Record<string, z.core.$ZodType>> = schema.shape
  return membersOf(input, (name) => (Object.hasOwn(shape, name) ? shape[name] : undefined))
}

function membersOf(
  input: object,
  schemaOf: (name: string) => z.core.$ZodType | undefined,
  isRecord = false,
): object {
  const members = Object.entries(input).flatMap(([name, value]: [string, unknown]) => {
    const schema = schemaOf(name)
    if (schema === undefined) return [[name, value] as const]
    const isUnset = value === null && (isRecord || takes(schema, undefined)) && !takes(schema, null)
    return isUnset ? [] : [[name, withoutNulls(schema, value)] as const]
  })
  return Object.fromEntries(members)
}

const takes = (schema: z.core.$ZodType, value: null | undefined): boolean =>
  z.safeParse(schema, value).success
