import { z } from 'zod'
import type { Bound } from '../../db/statement'

/** The statement that asks Postgres for the plan of another one. */
export const explained = ({ name, text, values }: Bound<unknown>): Bound<unknown> => ({
  name: `explain_${name}`,
  text: `explain ${text}`,
  values,
  row: z.unknown(),
})
