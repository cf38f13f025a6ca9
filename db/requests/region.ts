import { type SQL, sql } from 'drizzle-orm'

/** A process, as far as it decides which apps are served. */
export interface Place {
  /** Undefined: of no region, so that it serves only apps of none. */
  region?: string | undefined
}

/** The condition on `apps` that leaves those of another region to a process there. */
export const isServedIn = (region: SQL | string | undefined): SQL =>
  sql`(apps.region is null or apps.region = ${region ?? null})`

/**
 * The condition on `otp_requests` that leaves the requests of apps of another region to a process there.
 * @param region of this process; undefined: of none
 */
export const servedIn = (region: SQL | string | undefined): SQL =>
  sql`exists (select from apps where apps.id = otp_requests.app_id and ${isServedIn(region)})`

/**
 * The same on any table with an `app_id`; rows of no app belong to the installation, and are everybody's to see.
 * @param table as the statement calls it
 */
export const ofServedApps = (table: SQL, { region }: Place): SQL =>
  sql`(${table}.app_id is null or exists (select from apps where apps.id = ${table}.app_id and ${isServedIn(region)}))`
