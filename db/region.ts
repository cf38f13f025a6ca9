import { type SQL, sql } from 'drizzle-orm'

/**
 * The condition on `otp_requests` that leaves the requests of apps of another region to a process there.
 * @param region of this process; undefined: of none
 */
export const servedIn = (region: string | undefined): SQL =>
  sql`exists (select from apps where apps.id = otp_requests.app_id
    and (apps.region is null or apps.region = ${region ?? null}))`
