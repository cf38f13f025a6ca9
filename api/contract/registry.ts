import { z } from 'zod'

/** The schemas that the OpenAPI document names. */
export const contract = z.registry<{ id: string }>()

/** Gives a schema its name in the document. */
export function named<T extends z.ZodType>(id: string, schema: T): T {
  contract.add(schema, { id })
  return schema
}
