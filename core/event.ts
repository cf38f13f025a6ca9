/** Types of the events that an app is told of; at most one of each per request. */
export const eventTypes = [
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
  'alert',
] as const
export type EventType = (typeof eventTypes)[number]

/** What became of an event's delivery to one endpoint. */
export const deliveryStates = ['due', 'retrying', 'delivered', 'failed'] as const
export type DeliveryState = (typeof deliveryStates)[number]
