/** States of an OTP request; every one but `pending` is final. */
export const states = [
  'pending',
  'verified',
  'expired',
  'exhausted',
  'locked',
  'cancelled',
  'failed',
] as const
export type State = (typeof states)[number]

/** Why a request is in its state; one closed list for API, tables and events. */
export const reasons = [
  'code_matched',
  'lifetime_over',
  'no_step_succeeded',
  'too_many_checks',
  'requested',
  'superseded',
  'no_channel_accepted',
  'not_started',
  'budget_exceeded',
  'erased',
] as const
export type Reason = (typeof reasons)[number]

/** The only reasons a state may be entered for; the migration enforces the same pairs in SQL. */
export const reasonsOf = {
  pending: [],
  verified: ['code_matched'],
  expired: ['lifetime_over'],
  exhausted: ['no_step_succeeded'],
  locked: ['too_many_checks'],
  cancelled: ['requested', 'superseded', 'erased'],
  failed: ['no_channel_accepted', 'not_started', 'budget_exceeded'],
} as const satisfies Record<State, readonly Reason[]>

/**
 * A key's environment. The requests of one are invisible to the others. Only production reaches real providers:
 * the other two are reached by test keys.
 */
export const environments = ['production', 'staging', 'development'] as const
export type Environment = (typeof environments)[number]

/** Whether keys of this environment are live ones; the others use accounts marked `test: true` only. */
export const isLive = (environment: Environment): boolean => environment === 'production'
