/** Why a provider did not accept a message. */
export const faults = [
  'invalid_number',
  'blocked',
  'config',
  'unroutable',
  'unaffordable',
  'throttled',
  'unavailable',
  'in_doubt',
] as const
export type Fault = (typeof faults)[number]

/** What follows from a fault: end the step, leave the provider, try again, or settle the doubt. */
export const consequenceOf = {
  invalid_number: 'end_step',
  blocked: 'end_step',
  config: 'next_provider',
  /** This provider has no way to this number: neither the number's fault nor the account's. */
  unroutable: 'next_provider',
  /** Nobody was asked: the app's budget has no room for this price. Another provider's may be lower. */
  unaffordable: 'next_provider',
  throttled: 'retry',
  unavailable: 'retry',
  in_doubt: 'settle',
} as const satisfies Record<Fault, 'end_step' | 'next_provider' | 'retry' | 'settle'>
