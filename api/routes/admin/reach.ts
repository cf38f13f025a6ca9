import { isLive } from '../../../core/requests/state'
import type { ApiKey } from '../../../db/apps/api-keys'
import { type App, findApp } from '../../../db/apps/apps'
import type { Place } from '../../../db/requests/region'
import { appId } from '../../contract/admin'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { requireServed } from '../../region'
import type { AdminCall } from '../../route'

/**
 * The id of the app that an administrative call is about: an app's key means its own, an operator's key names one.
 * Whether an operator's app exists is for the statement that follows to find out.
 * @throws {Problem} NOT_FOUND for another app than the key's own; INVALID_REQUEST where an operator names none.
 */
function appIn(key: ApiKey, named?: string): string {
  const id = appOrAllIn(key, named)
  if (id !== undefined) return id
  throw new Problem('INVALID_REQUEST', {
    detail: 'app_id: required, since this key administers every app.',
    errors: [{ field: 'app_id', message: 'required' }],
  })
}

/**
 * As {@link appIn}, for calls that an operator may make about all apps at once.
 * @returns undefined: every app
 */
export function appOrAllIn(key: ApiKey, named?: string): string | undefined {
  if (!key.app) return named
  if (named !== undefined && named !== key.app.id) throw new Problem('NOT_FOUND')
  return key.app.id
}

/**
 * As {@link appIn}, with the app itself: for calls that touch what belongs to it.
 * @throws {Problem} WRONG_REGION too: the data of another region's app are not for this process, whoever asks.
 */
export async function findAppIn(
  { db, region }: Pick<ApiDeps, 'db' | 'region'>,
  key: ApiKey,
  named?: string,
): Promise<App> {
  const id = appIn(key, named)
  const app = key.app ?? (await findApp(db, id))
  if (!app) throw new Problem('NOT_FOUND')
  requireServed(app, region)
  return app
}

/**
 * As {@link appOrAllIn}, for what belongs to apps: an app of another region is refused, and where none is named the
 * apps of other regions are left out.
 * @throws {Problem} NOT_FOUND and WRONG_REGION as {@link findAppIn}
 */
export async function appsIn(
  deps: Pick<ApiDeps, 'db' | 'region'>,
  key: ApiKey,
  named?: string,
): Promise<{ appId: string } | { appId: undefined; servedBy: Place }> {
  const appId = appOrAllIn(key, named)
  if (appId === undefined) return { appId, servedBy: { region: deps.region } }
  return { appId: (await findAppIn(deps, key, appId)).id }
}

/** The app that `/admin/apps/{app_id}/…` names; what cannot be an id is as unknown as any other. */
export function appInPath({ key, params }: Pick<AdminCall, 'key' | 'params'>): string {
  const { success, data } = appId.safeParse(params.app_id)
  if (!success) throw new Problem('NOT_FOUND')
  return appIn(key, data)
}

/** An app's key for tests: it administers nothing that is live (docs/decisions/015). */
export const isTestKeyOfApp = ({ app, environment }: ApiKey): boolean =>
  app !== null && !isLive(environment)

/**
 * For what belongs to one environment of an app.
 * @param what in the plural, as the refusal names it
 * @throws {Problem} FORBIDDEN for an app's test key where that environment is live.
 */
export function requireEnvironment(
  key: ApiKey,
  { environment }: Pick<ApiKey, 'environment'>,
  what: string,
): void {
  if (isTestKeyOfApp(key) && isLive(environment))
    throw new Problem('FORBIDDEN', { detail: `A test key does not administer ${what}.` })
}

/**
 * For what reaches every environment of an app at once: its settings, its recipients, its trail.
 * @throws {Problem} FORBIDDEN for an app's test key.
 */
export function requireLive(key: ApiKey): void {
  if (isTestKeyOfApp(key))
    throw new Problem('FORBIDDEN', {
      detail: 'This is about real people too: it takes a live key of the app, or an operator’s.',
    })
}

/** @throws {Problem} FORBIDDEN for the key of an app. */
export function requireOperator({ app }: ApiKey): void {
  if (app) throw new Problem('FORBIDDEN', { detail: 'This takes an operator’s key.' })
}
