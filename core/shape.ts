import { channels } from './channel'
import { doubtPolicies, type Plan, type Step } from './requests/plan'
import { successRules } from './delivery/receipt'

// Guards for what comes from outside where zod may not be used: workflow code.

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A whole number, from 0. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

export const isOneOf = <T extends string>(words: readonly T[], value: unknown): value is T =>
  typeof value === 'string' && (words as readonly string[]).includes(value)

export const isStep = (value: unknown): value is Step =>
  isRecord(value) &&
  isOneOf(channels, value.channel) &&
  isOneOf(successRules, value.success) &&
  isOneOf(doubtPolicies, value.onDoubt) &&
  isCount(value.timeoutMs) &&
  Array.isArray(value.providers) &&
  value.providers.every((name) => typeof name === 'string')

export const isPlan = (value: unknown): value is Plan => Array.isArray(value) && value.every(isStep)
