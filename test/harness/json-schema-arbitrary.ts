import fc from './properties'

/** The part of JSON Schema that the document uses. */
export interface JsonSchema {
  $ref?: string
  type?: string
  enum?: unknown[]
  const?: unknown
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  allOf?: JsonSchema[]
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: boolean | JsonSchema
  then?: JsonSchema
  propertyNames?: JsonSchema
  items?: JsonSchema
  minItems?: number
  maxItems?: number
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  pattern?: string
  format?: string
  examples?: unknown[]
}
export type Schemas = Record<string, JsonSchema>

type Arbitrary = fc.Arbitrary<unknown>

/** Values that a schema allows, its examples often among them. */
export function valuesOf(schema: JsonSchema, schemas: Schemas): Arbitrary {
  const { examples = [] } = schema
  const made = madeOf(schema, schemas)
  if (examples.length === 0) return made
  return fc.oneof(
    { arbitrary: fc.constantFrom(...examples), weight: 3 },
    { arbitrary: made, weight: 1 },
  )
}

function madeOf(schema: JsonSchema, schemas: Schemas): Arbitrary {
  const { $ref, anyOf, oneOf, allOf } = schema
  if ($ref !== undefined) return valuesOf(resolve($ref, schemas), schemas)
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  const some = anyOf ?? oneOf
  if (some) return fc.oneof(...some.map((one) => valuesOf(one, schemas)))
  if (allOf) return valuesOf(Object.assign({}, ...allOf) as JsonSchema, schemas)
  switch (schema.type) {
    case 'object':
      return objectOf(schema, schemas)
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}, schemas), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 4, 8),
      })
    case 'string':
      return stringOf(schema)
    case 'integer':
      return fc.integer(boundsOf(schema))
    case 'number':
      return fc.double({ min: schema.minimum ?? -1e6, max: schema.maximum ?? 1e6, noNaN: true })
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    default:
      return fc.jsonValue({ maxDepth: 2 })
  }
}

const boundsOf = ({ minimum = -2_147_483_648, maximum = 2_147_483_647 }: JsonSchema) => ({
  min: Math.max(minimum, -2_147_483_648),
  max: Math.min(maximum, 2_147_483_647),
})

function stringOf({ pattern, format, minLength = 0, maxLength }: JsonSchema): Arbitrary {
  if (format === 'date-time') {
    const noInvalidDate = true
    return fc
      .date({ min: new Date(0), max: new Date(4e12), noInvalidDate })
      .map((at) => at.toISOString())
  }
  if (format === 'email') return fc.emailAddress()
  if (format === 'uri') return fc.webUrl({ validSchemes: ['https'] })
  if (pattern !== undefined) {
    return fc
      .stringMatching(new RegExp(pattern))
      .filter((text) => text.length >= minLength && text.length <= (maxLength ?? Infinity))
  }
  return fc.string({
    minLength,
    maxLength: Math.min(maxLength ?? minLength + 40, 2_000),
    unit: 'grapheme',
  })
}

function objectOf(schema: JsonSchema, schemas: Schemas): Arbitrary {
  const { properties = {}, required = [], additionalProperties, propertyNames } = schema
  const names = Object.keys(properties)
  if (names.length === 0 && typeof additionalProperties === 'object') {
    return fc.dictionary(
      propertyNames ? (valuesOf(propertyNames, schemas) as fc.Arbitrary<string>) : fc.string(),
      valuesOf(additionalProperties, schemas),
      { maxKeys: 5 },
    )
  }
  const fields = Object.fromEntries(
    names.map((name) => [name, valuesOf(properties[name] ?? {}, schemas)]),
  )
  const made = fc.record(fields, { requiredKeys: required, noNullPrototype: true })
  const exclusive = exclusiveIn(schema)
  if (exclusive.length === 0) return made
  return fc.tuple(made, fc.constantFrom(...exclusive)).chain(([given, chosen]) =>
    fc.record({ [chosen]: fields[chosen] ?? fc.constant(null) }).map((one) => ({
      ...Object.fromEntries(Object.entries(given).filter(([name]) => !exclusive.includes(name))),
      ...one,
    })),
  )
}

/** Members of which exactly one is given. */
const exclusiveIn = ({ then = {} }: JsonSchema): string[] =>
  [then, ...(then.allOf ?? [])]
    .flatMap(({ oneOf = [] }) => oneOf)
    .flatMap(({ required = [] }) => required)

function resolve(reference: string, schemas: Schemas): JsonSchema {
  const schema = schemas[reference.replace('#/components/schemas/', '')]
  if (!schema) throw new Error(`${reference} leads nowhere.`)
  return schema
}

const odd: unknown[] = [
  null,
  '',
  0,
  -1,
  1.5,
  1e308,
  true,
  [],
  {},
  [[]],
  'null',
  '\u0000',
  '\ud800',
  '\u202e',
  '%00',
  "'; --",
  '{{code}}',
  'x'.repeat(5_000),
  2 ** 53,
  '2026-02-30T00:00:00Z',
  '0000-01-01T00:00:00Z',
  '+233',
  '1e3',
]

/** Values that are nearly right: one field is odd, missing, or one too many; or something else altogether. */
export function nearlyValuesOf(schema: JsonSchema, schemas: Schemas): Arbitrary {
  const whole = schema.$ref === undefined ? schema : resolve(schema.$ref, schemas)
  const names = Object.keys(whole.properties ?? {})
  const other = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom(...odd))
  if (names.length === 0) return other
  const value = valuesOf(whole, schemas) as fc.Arbitrary<Record<string, unknown>>
  const name = fc.constantFrom(...names)
  return fc.oneof(
    fc.tuple(value, name, other).map(([given, field, strange]) => ({ ...given, [field]: strange })),
    fc
      .tuple(value, name)
      .map(([given, field]) =>
        Object.fromEntries(Object.entries(given).filter(([key]) => key !== field)),
      ),
    fc
      .tuple(value, fc.string(), other)
      .map(([given, key, strange]) => ({ ...given, [key]: strange })),
    other,
  )
}
