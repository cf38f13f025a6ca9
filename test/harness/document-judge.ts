import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020'
import addFormats from 'ajv-formats'
import type { JsonSchema, Schemas } from './json-schema-arbitrary'

/** What of a value does not fit a schema, as a sentence; undefined where all of it does. */
export type DocumentJudge = (schema: JsonSchema, value: unknown) => string | undefined

/** Judges by the schemas of a document, with a validator of JSON Schema 2020-12 that is not ours. */
export function documentJudge(schemas: Schemas): DocumentJudge {
  // OpenAPI has keywords of its own (`x-…`, `example`), which the strict mode does not know.
  const ajv = new Ajv2020({ strict: false })
  addFormats(ajv)
  ajv.addSchema({ $id: 'openapi.json', components: { schemas } })
  const known = new Map<JsonSchema, ValidateFunction>()
  return (schema, value) => {
    const text = JSON.stringify(schema).replaceAll('"#/components/', '"openapi.json#/components/')
    const validate = known.get(schema) ?? ajv.compile(JSON.parse(text) as JsonSchema)
    known.set(schema, validate)
    return validate(value) ? undefined : ajv.errorsText(validate.errors)
  }
}
