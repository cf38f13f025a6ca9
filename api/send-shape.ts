import { localeOfCountry, readLocale } from '../core/messages/locale'
import type { Risk } from '../core/protection/risk'
import type { App } from '../db/apps/apps'
import type { SendInput } from '../db/requests/new-request'
import type { SendBody } from './contract/send'
import { namedStep, planFor, type RouteWish, type Routing } from './plan-for'
import type { HookChanges } from './protection/hook'
import { lifetimeOf } from './send-wish'

/** What a send turns out to be: what the caller asks for, and what a pre-send hook makes of it. */
export type SendShape = Pick<
  SendInput,
  'locale' | 'risk' | 'lifetimeSeconds' | 'plan' | 'explicitStep'
>

/** What the shape depends on beside what was asked for. */
export interface ShapeOf {
  body: SendBody
  app: App
  country: string | null
  /** The route's question but for what the shape decides. */
  wish: Omit<RouteWish, 'risk'>
}

/**
 * Decides what a send is to be.
 * @throws {Problem} where it cannot be that
 */
export function shapeOf(
  routing: Routing,
  { body, app, country, wish: given }: ShapeOf,
  changes: HookChanges = {},
): SendShape {
  const risk: Risk = changes.risk ?? body.risk ?? 'normal'
  const [locale] = [changes.locale, body.locale].flatMap((hint) => readLocale(hint ?? '') ?? [])
  // A list of channels takes the place of all that was said about them.
  const asked = changes.channels ? { channels: changes.channels } : given.wish
  const wish: RouteWish = { ...given, wish: asked, risk }
  const { channel, channels } = asked
  return {
    locale: locale ?? localeOfCountry(country ?? app.defaultCountry),
    risk,
    lifetimeSeconds: lifetimeOf({ ...body, risk }, app),
    plan: planFor(routing, wish),
    explicitStep: channel && !channels ? namedStep(routing, channel, wish) : undefined,
  }
}
