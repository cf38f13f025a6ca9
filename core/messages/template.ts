/** What a template may hold; `{{code}}` it must. */
export const placeholders = ['code', 'minutes', 'lifetime', 'brand'] as const
export type Placeholder = (typeof placeholders)[number]

const pattern = /\{\{(code|minutes|lifetime|brand)\}\}/g

/** Puts the values in, in one pass: what a value looks like is never read as a placeholder. */
export const fill = (template: string, values: Record<Placeholder, string>): string =>
  template.replace(pattern, (_, name: Placeholder) => values[name])

/** What is left when the placeholders are taken out. */
export const withoutPlaceholders = (template: string): string => template.replace(pattern, '')

/** A lifetime in the minutes that people read, begun ones counted. */
export const minutesOf = (lifetimeSeconds: number): number => Math.ceil(lifetimeSeconds / 60)
