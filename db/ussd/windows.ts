import { type SQL, sql } from 'drizzle-orm'
import type { Keyring } from '../../codes/keyring'
import { globalIndex } from '../../codes/seal'
import { type Plan, ruleFor, type Step } from '../../core/requests/plan'
import type { SuccessRule } from '../../core/delivery/receipt'
import type { Queries } from '..'
import { type Named, NoRow, statement } from '../statement'

/** What users dial to see a code of ours, by provider account. */
export type DialStrings = ReadonlyMap<string, string>

/** Where a request's code can be dialled for. */
interface Place {
  provider: string
  serviceCode: string
  /** The step that a dial counts for. */
  step: number
  success: SuccessRule
}

/** The first account of a step that shows codes of ours. */
function placeOf(step: Step, index: number, dialStrings: DialStrings): Place | undefined {
  for (const provider of step.providers) {
    const serviceCode = dialStrings.get(provider)
    if (serviceCode !== undefined)
      return { provider, serviceCode, step: index, success: ruleFor(step, provider) }
  }
  return undefined
}

/** Where the code of a request with this plan can be dialled for; undefined when nowhere. */
export function placeInPlan(plan: Plan, dialStrings: DialStrings = new Map()): Place | undefined {
  const step = plan.findIndex(({ channel }) => channel === 'ussd')
  const planned = plan[step]
  return planned && placeOf(planned, step, dialStrings)
}

/** A window, for a statement. */
export interface WindowParams {
  provider: string
  step: number
  success: SuccessRule
  serviceCode: string
  globalIndex: Buffer
}

export const windowParams = (
  keyring: Keyring,
  phoneNumber: string,
  { provider, step, success, serviceCode }: Place,
): WindowParams => ({
  ...{ provider, step, success, serviceCode },
  globalIndex: globalIndex(keyring, phoneNumber),
})

/** The insert that lets a number dial for the code of a request; `from` names a CTE with its `id` and `expires_at`. */
export const openWindowFrom = (from: SQL, p: Named<WindowParams>): SQL => sql`
  insert into ussd_windows as w (request_id, provider, step, success, service_code, global_index, opened_at, expires_at)
  select id, ${p.provider}, ${p.step}, ${p.success}, ${p.serviceCode}, ${p.globalIndex}, clock_timestamp(), expires_at
  from ${from}`

const reopenStatement = statement(
  'reopen_window',
  NoRow,
  (p: Named<WindowParams & { requestId: string }>) => sql`
  ${openWindowFrom(
    sql`(select id, expires_at from otp_requests where id = ${p.requestId} and state = 'pending') live`,
    p,
  )}
  on conflict (request_id, provider) do update set views = 0, service_code = excluded.service_code,
    global_index = excluded.global_index, opened_at = excluded.opened_at`,
)

/**
 * Opens or renews the window of a request that is to be sent by USSD (again): its code may be shown as often as at
 * first. The caller holds the request.
 * @param step that of the channel, whether the plan has it or not
 * @returns what to dial; undefined when no account of the step shows codes of ours
 */
export async function reopenWindow(
  tx: Queries,
  keyring: Keyring,
  again: {
    requestId: string
    plan: Plan
    step: Step
    phoneNumber: string
    dialStrings: DialStrings
  },
): Promise<string | undefined> {
  const { requestId, plan, step, phoneNumber, dialStrings } = again
  const planned = plan.findIndex(({ channel }) => channel === step.channel)
  const place = placeOf(step, Math.max(planned, 0), dialStrings)
  if (!place) return undefined
  await tx.many(reopenStatement({ requestId, ...windowParams(keyring, phoneNumber, place) }))
  return place.serviceCode
}

/** What there is to dial for a request, the last that was said; for `otp_requests r`. */
export const instructionOf = sql`coalesce(
  (select a.instruction from attempts a where a.request_id = r.id and a.instruction is not null
    order by a.number desc limit 1),
  (select w.service_code from ussd_windows w where w.request_id = r.id order by w.opened_at desc limit 1))`

const openStatement = statement(
  'open_window',
  NoRow,
  (p: Named<{ attemptId: string; serviceCode: string; globalIndex: Buffer }>) => sql`
    with own as (
      select a.id, a.provider, a.step, a.success, r.id as request_id, r.expires_at
      from attempts a join otp_requests r on r.id = a.request_id
      -- Held, so that an erasure either comes first and ends the request, or finds this row.
      where a.id = ${p.attemptId} and r.state = 'pending' for share of r
    ), told as (
      update attempts set instruction = ${p.serviceCode} from own where attempts.id = own.id
    )
    insert into ussd_windows as w (request_id, provider, step, success, attempt_id, service_code, global_index,
      opened_at, expires_at)
    select request_id, provider, step, success, id, ${p.serviceCode}, ${p.globalIndex}::bytea,
      clock_timestamp(), expires_at from own
    on conflict (request_id, provider) do update set attempt_id = excluded.attempt_id, step = excluded.step,
      success = excluded.success, service_code = excluded.service_code, global_index = excluded.global_index,
      opened_at = excluded.opened_at`,
)

/**
 * Has dials at an attempt's account count as receipts of that attempt, and notes what is to be dialled for it. Opens
 * the window where the send did not: an account that a step fails over to, or a service code that is new.
 */
export async function openUssdWindow(
  db: Queries,
  keyring: Keyring,
  {
    attemptId,
    phoneNumber,
    serviceCode,
  }: { attemptId: string; phoneNumber: string; serviceCode: string },
): Promise<void> {
  await db.many(
    openStatement({ attemptId, serviceCode, globalIndex: globalIndex(keyring, phoneNumber) }),
  )
}
