import { type SQL, sql } from 'drizzle-orm'

/** A run that has started has so long for its first claim. */
const firstClaimSeconds = 10
/** A run that learnt of a refusal has so long for what comes next. */
const nextClaimSeconds = 5

const inSeconds = (seconds: SQL | number) =>
  sql`clock_timestamp() + make_interval(secs => ${typeof seconds === 'number' ? sql.raw(String(seconds)) : seconds})`

/** Of a row `r` whose run has just started. */
export const progressDueAtStart = (r: SQL): SQL =>
  sql`case when ${r}.attempt_seq = 0 and ${r}.state = 'pending' then ${inSeconds(firstClaimSeconds)} else null end`

/** Of a row `r` whose run was gone, and started again. */
export const progressDueAtRestart = (r: SQL): SQL =>
  sql`case when ${r}.attempt_seq = 0 or ${r}.state <> 'pending' then ${progressDueAtStart(r)}
    else ${progressDueAfterClaim(r, sql`${r}.current_step`)} end`

/**
 * Of a row `r` for which a call of a step is claimed: the step's time, after which its run goes on. Nothing is due from
 * a run that only waits for the end: since it has succeeded, and nobody asked for the next channel, or since its plan is over.
 */
export const progressDueAfterClaim = (r: SQL, step: SQL): SQL =>
  sql`case when (${r}.succeeded_at is null or ${r}.leave_step >= 0) and ${r}.plan_ended_at is null
    then ${inSeconds(sql`(${r}.plan -> ${step}::int ->> 'timeoutMs')::float8 / 1000`)} end`

/** Of a row `r` for which a call was refused. */
export const progressDueAfterRefusal = (r: SQL): SQL =>
  sql`case when ${r}.progress_due_at is not null then ${inSeconds(nextClaimSeconds)} end`
