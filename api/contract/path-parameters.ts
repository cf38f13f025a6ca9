import { z } from 'zod'
import { alertRuleNames } from '../../core/alerts/rule'
import { appId, keyId } from './admin'
import { alertId } from './alerts'
import { blockId } from './blocks'
import { requestId, requestIdShape } from './common'
import { endpointId, eventId } from './events'
import { entryId, testNumberId } from './numbers'
import { TemplatePlace } from './templates'

/** What the parts of paths look like; another text leads nowhere. What is not here is any text. */
export const pathParameters: Readonly<Record<string, z.ZodType>> = {
  request_id: requestId.regex(requestIdShape),
  provider: z
    .string()
    .min(1)
    .meta({ examples: ['sandbox-a'] }),
  app_id: appId,
  key_id: keyId,
  entry_id: entryId,
  test_number_id: testNumberId,
  block_id: blockId,
  alert_id: alertId,
  endpoint_id: endpointId,
  event_id: eventId,
  rule: z.enum(alertRuleNames),
  ...TemplatePlace.shape,
}
