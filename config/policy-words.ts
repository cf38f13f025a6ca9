import { getCountries, isSupportedCountry } from 'libphonenumber-js/min'
import { z } from 'zod'

export const accountName = z.string().min(1)
/** Two capitals are a country, small letters a group of the file's own. */
export const country = z
  .string()
  .refine((text) => isSupportedCountry(text), 'is not a country’s two letters, as in GH')
  .meta({ id: 'country', enum: getCountries() })
export const groupName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, 'lower-case letters, digits and -')

export const isOnce = (list: readonly string[]): boolean => new Set(list).size === list.length
/** What refinements say, for editors: JSON Schema cannot be made from code. */
export const once = { uniqueItems: true }
