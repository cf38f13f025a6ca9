import { customType, pgEnum, timestamp } from 'drizzle-orm/pg-core'
import { alphabets } from '../../core/verify/alphabet'
import { auditTypes } from '../../core/audit/types'
import { channels, recipientKinds } from '../../core/channel'
import { deliveryStates, eventTypes } from '../../core/events/event'
import { faults } from '../../core/delivery/fault'
import { receiptStatuses, successRules } from '../../core/delivery/receipt'
import { environments, reasons, states } from '../../core/requests/state'

export const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
export const at = (name: string) => timestamp(name, { withTimezone: true, precision: 6 })

export const channelType = pgEnum('channel', channels)
export const recipientKindType = pgEnum('recipient_kind', recipientKinds)
export const stateType = pgEnum('request_state', states)
export const reasonType = pgEnum('request_reason', reasons)
export const faultType = pgEnum('fault', faults)
export const receiptStatusType = pgEnum('receipt_status', receiptStatuses)
export const successRuleType = pgEnum('success_rule', successRules)
export const auditType = pgEnum('audit_type', auditTypes)
export const environmentType = pgEnum('key_environment', environments)
export const alphabetType = pgEnum('code_alphabet', alphabets)
export const eventType = pgEnum('event_type', eventTypes)
export const deliveryStateType = pgEnum('delivery_state', deliveryStates)
export const attemptStateType = pgEnum('attempt_state', ['open', 'accepted', 'refused', 'in_doubt'])
