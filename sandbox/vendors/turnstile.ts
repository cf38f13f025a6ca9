import { captchaRoutes, failed, timeOf } from './captcha-wire'
import type { Vendor } from './vendor'

const lifetimeMs = 300_000

/** Plays Cloudflare Turnstile: tokens of five minutes that are good once, or again for a call with the same key. */
export const turnstile: Vendor = {
  name: 'turnstile',
  settings: (base) => ({
    SITE_KEY: '0x4AAAAAAAfakesitekey0001',
    SECRET: '0x4AAAAAAAfakesecret-of-the-sandbox',
    BASE_URL: base,
  }),
  routes: (parts) =>
    captchaRoutes(parts, {
      path: '/turnstile/v0/siteverify',
      tokenPrefix: '0.',
      judge(solved, { idempotency_key: key }) {
        const isAgain = solved.takenBy !== undefined && (!key || solved.takenBy !== key)
        if (isAgain || Date.now() - solved.solvedAt > lifetimeMs)
          return failed('timeout-or-duplicate')
        solved.takenBy = key ?? ''
        const { hostname, action, cdata } = solved
        return {
          success: true,
          'error-codes': [],
          challenge_ts: timeOf(solved),
          hostname,
          action,
          cdata,
          metadata: { interactive: false },
        }
      },
    }),
}
