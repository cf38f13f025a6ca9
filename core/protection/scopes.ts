import type { Environment } from '../requests/state'

/**
 * What sends are counted together by. `cold`: an app's sends to countries where hardly anybody has ever come back with
 * a code. `block` is a number without its last four digits, `range` without its last six.
 */
export const scopeKinds = ['app', 'cold', 'country', 'range', 'block', 'ip', 'key'] as const
export type ScopeKind = (typeof scopeKinds)[number]

/** One of them. Apps, and the environments of their keys, do not meet. */
export interface Scope {
  kind: ScopeKind
  /** What its counters and its block are found by: holds no number and no address, but digests of them. */
  name: string
  /** For people: a country, the beginning of a number; absent where it would be somebody's address. */
  label?: string
}

/** What is known of a send when it is judged. */
export interface ScopedSend {
  app: string
  environment: Environment
  /** E.164 with `+`; absent for e-mail. */
  number?: string | undefined
  /** Two letters; null where the number has none. */
  country: string | null
  /** Keyed digest of the end user's network, in hex. */
  ip?: string | undefined
  /** Keyed digests of what the caller gave in `rate_limit_keys`, by name. */
  keys?: Readonly<Record<string, string>> | undefined
}

const blockDigits = 4
const rangeDigits = 6

/** The number without its last digits, never without its country's. */
export const blockOf = (number: string): string => number.slice(0, -blockDigits)
export const rangeOf = (number: string): string => number.slice(0, -rangeDigits)

/** Every scope that a send belongs to. */
export function scopesOf({ app, environment, number, country, ip, keys }: ScopedSend): Scope[] {
  const base = `${environment}|${app}`
  const scopes: Scope[] = []
  if (number !== undefined) {
    const [block, range] = [blockOf(number), rangeOf(number)]
    const place = country ?? 'none'
    scopes.push(
      { kind: 'app', name: `${base}|app`, label: app },
      { kind: 'cold', name: `${base}|cold`, label: app },
      { kind: 'country', name: `${base}|country|${place}`, label: place },
      { kind: 'range', name: `${base}|range|${range}`, label: range },
      { kind: 'block', name: `${base}|block|${block}`, label: block },
    )
  }
  if (ip !== undefined) scopes.push({ kind: 'ip', name: `${base}|ip|${ip}` })
  for (const [key, digest] of Object.entries(keys ?? {}))
    scopes.push({ kind: 'key', name: `${base}|key|${key}|${digest}`, label: key })
  return scopes
}

/** Rows that all sends of an app write are spread over so many, by chance: one row would make them queue. */
const spread: Readonly<Record<ScopeKind, number>> = {
  app: 2,
  cold: 2,
  country: 2,
  range: 1,
  block: 1,
  ip: 1,
  key: 1,
}

/** The names of a scope's rows. */
export const rowsOf = ({ kind, name }: Scope): string[] =>
  Array.from({ length: spread[kind] }, (_, row) => (row === 0 ? name : `${name}#${row}`))

/** The scope that a row belongs to. */
export const scopeOfRow = (row: string): string => row.replace(/#\d+$/, '')

/** The scope of a name that {@link scopesOf} made; undefined for any other text. */
export function scopeNamed(name: string): Scope | undefined {
  const [, , word, label] = name.split('|')
  const kind = scopeKinds.find((known) => known === word)
  if (!kind) return undefined
  // What follows these is a digest of somebody's address.
  const isTold = kind === 'country' || kind === 'range' || kind === 'block'
  return { kind, name, ...(isTold && label !== undefined && { label }) }
}
