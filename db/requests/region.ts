import { type SQL, sql } from 'drizzle-orm'
import type { Named } from '../statement'

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
 * @param region of this process; undefined: of none
 */
export const ofServedApps = (table: SQL, region: SQL | string | undefined): SQL =>
  sql`(${table}.app_id is null or exists (select from apps where apps.id = ${table}.app_id and ${isServedIn(region)}))`

/** Whose row an administrator may change: any app's, that of an app which a process serves, or that of one owner. */
export interface RowOwner {
  whose: 'any' | 'served' | 'own'
  /** Of `own`; null: the installation. */
  ownerId: string | null
  /** Of `served`: this process's region; null: of none. */
  region: string | null
}

/** @param appId undefined: whichever app's, of those that `servedBy` serves where that is given */
export const rowOwner = (appId: string | null | undefined, servedBy?: Place): RowOwner => ({
  whose: appId !== undefined ? 'own' : servedBy ? 'served' : 'any',
  ownerId: appId ?? null,
  region: servedBy?.region ?? null,
})

/** The condition that a row which is found by its key is of the owner that the parameters say. */
export const isOf = (table: SQL, p: Named<RowOwner>): SQL => sql`case ${p.whose}::text
  when 'own' then ${table}.app_id is not distinct from ${p.ownerId}
  when 'served' then ${ofServedApps(table, p.region)}
  else true end`
