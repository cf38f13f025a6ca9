import { isCount, isRecord } from '../shape'

/** Types of the events that an app is told of; at most one of each per request. */
const requestEventTypes = [
  'created',
  'sent',
  'delivered',
  'plan_ended',
  'action_required',
  'verified',
  'failed',
  'expired',
  'locked',
  'cancelled',
] as const

/** What an endpoint can be registered for; an `alert` is about the app, or about a recipient of its. */
export const chosenEventTypes = [...requestEventTypes, 'alert'] as const
export type ChosenEventType = (typeof chosenEventTypes)[number]

/** All of them; a `test` is sent on demand, to any endpoint. */
export const eventTypes = [...chosenEventTypes, 'test'] as const
export type EventType = (typeof eventTypes)[number]

/** What became of an event's delivery to one endpoint. */
export const deliveryStates = ['due', 'retrying', 'delivered', 'failed'] as const
export type DeliveryState = (typeof deliveryStates)[number]

/** Why nothing is sent to an endpoint. */
export const disabledReasons = ['requested', 'gone', 'failing'] as const
export type DisabledReason = (typeof disabledReasons)[number]

const seconds = 1_000
const minutes = 60 * seconds
const hours = 60 * minutes

/** Pauses before the tries after the first one, in milliseconds: the schedule that Standard Webhooks proposes. */
export const retryDelaysMs: readonly number[] = [
  5 * seconds,
  5 * minutes,
  30 * minutes,
  2 * hours,
  5 * hours,
  10 * hours,
  14 * hours,
  20 * hours,
  24 * hours,
]

/** A pause is longer by up to this share, so that an endpoint that is back is not met by all of them at once. */
export const retryJitter = 0.1

/** A run that was not heard of for so long is gone: longer than the longest pause, and what a call may add to it. */
export const silentRunHours = 30

/** How long the run of a failed delivery may live, in milliseconds: after that silence it has been started anew. */
export const longestDeliveryMs = (delaysMs: readonly number[]): number =>
  delaysMs.reduce((sum, delayMs) => sum + delayMs * (1 + retryJitter), silentRunHours * hours)

/**
 * How long a run waits, in milliseconds, before it asks again for an endpoint that may not be called now, or not from
 * here: twice as long each time, and up to half longer, so that those that wait do not all come together.
 * @param attempt 1 for the first time
 * @param chance from 0 to 1
 */
export const busyPauseMs = (attempt: number, chance: number): number =>
  Math.min(5 * seconds * 2 ** (attempt - 1), 10 * minutes) * (1 + chance / 2)

/** What the run of a failed delivery is given: ids and times only. */
export interface EventDeliveryInput {
  deliveryId: string
  /** How often it was started anew by hand; a run of an earlier start has nothing more to do. */
  replays: number
  delaysMs: readonly number[]
}

export const isEventDeliveryInput = (value: unknown): value is EventDeliveryInput =>
  isRecord(value) &&
  typeof value.deliveryId === 'string' &&
  isCount(value.replays) &&
  Array.isArray(value.delaysMs) &&
  value.delaysMs.every(isCount)

/** Retries have activity slots of their own: receivers that hang must not keep codes from being sent. */
export const eventTaskQueue = (taskQueue: string): string => `${taskQueue}-events`
