import { type Policy, type PolicyReading } from '../../config/policy'

/** Of a reading that is known to be good. */
export const valid = (reading: PolicyReading): Policy => {
  if (!reading.success) throw new Error(reading.faults.join('\n'))
  return reading.policy
}
export const accounts = [
  { name: 'a', adapter: 'sandbox', channels: ['sms', 'voice'], test: true },
  { name: 'b', adapter: 'sandbox', channels: ['sms'], test: true },
]
export const channels = { phone: ['sms', 'voice'], email: ['email'] }
/** A file of one line a section, from line 2 on, in the order that is given. */
export const fileOf = (sections: Record<string, unknown>): string =>
  `{\n${Object.entries({ accounts, channels, ...sections })
    .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    .join(',\n')}\n}`
