import { z } from 'zod'
import { Channel, email, phoneNumber } from './common'
import { named } from './registry'

const recipient = { phone_number: phoneNumber.optional(), email: email.optional() }

export const RecipientBody = named('RecipientBody', z.strictObject(recipient))
export const PreferenceBody = named(
  'PreferenceBody',
  z.strictObject({ ...recipient, channel: Channel }),
)
export const PreferenceAnswer = named(
  'PreferenceAnswer',
  z.object({ channel: Channel.nullable().describe('null: no preference is stored.') }),
)
export const DeletedAnswer = named(
  'DeletedAnswer',
  z.object({ deleted: z.boolean().describe('Whether there was a preference.') }),
)
