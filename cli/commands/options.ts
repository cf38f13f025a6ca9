import { InvalidArgumentError } from 'commander'
import type { z } from 'zod'

/** A whole number, as an option's value. */
export const wholeNumber = (text: string): number => {
  if (!/^-?\d{1,12}$/.test(text)) throw new InvalidArgumentError('Give a whole number.')
  return Number(text)
}

/** `on` or `off`, as an option's value. */
export const onOff = (text: string): boolean => {
  if (text !== 'on' && text !== 'off') throw new InvalidArgumentError('Say on or off.')
  return text === 'on'
}

/** A value that `none` takes away: not for commander itself, which makes a null an empty text. */
export const textOrNone = (text: string | undefined): string | null | undefined =>
  text === 'none' ? null : text

/** Comma-separated words. */
export const words = (text: string): string[] =>
  text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')

/**
 * Holds options to a schema of the HTTP contract, whose fields they are named after.
 * @throws an Error that names every option at fault
 */
export const checked = <T>(schema: z.ZodType<T>, input: unknown): T => {
  const { success, data, error } = schema.safeParse(input)
  if (success) return data
  const faults = error.issues.map(({ path, message }) => {
    const name = String(path[0] ?? '').replace(/^app_id$/, 'app')
    return `${name && `${name.replaceAll('_', '-')}: `}${message}`
  })
  throw new Error(faults.join('\n'))
}
