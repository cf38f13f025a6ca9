import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { faults } from '../../core/delivery/fault'
import type { Past } from '../../core/requests/otp-request'
import { successRules } from '../../core/delivery/receipt'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import { readProgress } from './progress'

const PastRow = z.strictObject({
  currentStep: z.number(),
  lastSendNo: z.number(),
  servedSeq: z.number(),
  calls: z.array(
    z.strictObject({
      attempt: z.number(),
      step: z.number(),
      provider: z.string(),
      success: z.enum(successRules),
      taken: z.boolean(),
      fault: z.enum(faults).nullable(),
      ageMs: z.number(),
    }),
  ),
})

const pastStatement = statement(
  'read_past',
  PastRow,
  (p: Named<{ requestId: string }>) => sql`
  select current_step as "currentStep",
    coalesce((select max(send_no) from attempts where request_id = r.id), 0) as "lastSendNo",
    coalesce((select max(resend_seq) from attempts where request_id = r.id), 0) as "servedSeq",
    coalesce((select jsonb_agg(jsonb_build_object('attempt', number, 'step', step, 'provider', provider,
        'success', success, 'taken', a.state <> 'refused', 'fault', fault,
        'ageMs', extract(epoch from clock_timestamp() - claimed_at) * 1000) order by number)
      from attempts a where a.request_id = r.id and send_no > 0), '[]') as calls
  from otp_requests r where id = ${p.requestId}`,
)

/** What an earlier run of a request did. @throws {UnknownRequest} */
export async function readPast(db: Queries, requestId: string): Promise<Past> {
  // The newer one last: what happens between the two is news to it.
  const past = await db.one(pastStatement({ requestId }))
  const progress = await readProgress(db, requestId)
  if (!past) throw new Error('A request vanished.')
  return { ...progress, ...past }
}
