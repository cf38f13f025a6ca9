import { z } from 'zod'
import { Channel, channelFits, oneRecipient, recipient } from './common'
import { named } from './registry'
import { withRules } from './rules'

export const RecipientBody = named(
  'RecipientBody',
  withRules(z.strictObject(recipient), oneRecipient),
)
export const PreferenceBody = named(
  'PreferenceBody',
  withRules(z.strictObject({ ...recipient, channel: Channel }), oneRecipient, ...channelFits),
)
export const PreferenceAnswer = named(
  'PreferenceAnswer',
  z.object({ channel: Channel.nullable().describe('null: no preference is stored.') }),
)
export const DeletedAnswer = named(
  'DeletedAnswer',
  z.object({ deleted: z.boolean().describe('Whether there was a preference.') }),
)
