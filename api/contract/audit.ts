import { z } from 'zod'
import { appId } from './admin'

const moment = z.iso.datetime({ offset: true, error: 'must be a time as in RFC 3339' })

export const AuditQuery = z.strictObject({
  app_id: appId
    .optional()
    .describe(
      'Rows of this app only. An app’s own key means its own; an operator’s, every app that this process serves.',
    ),
  from: moment.optional().describe('Rows written from this time on.'),
  to: moment.optional().describe('Rows written before this time.'),
  after: z
    .string()
    .regex(/^\d{1,39}$/, 'must be a number')
    .optional()
    .describe(
      '`number` of the last row that you have, from an answer to a key of the same app, or of an operator.',
    ),
})

/** As the command line takes it: whoever runs that sees plain numbers. */
export const PlainAuditQuery = AuditQuery.extend({
  after: z
    .string()
    .regex(/^\d{1,18}$/, 'must be a number')
    .optional(),
})
