import { captchaRoutes, failed, timeOf } from './captcha-wire'
import type { Vendor } from './vendor'

const lifetimeMs = 120_000

/** Plays hCaptcha: tokens of two minutes that are good once, of one site key. */
export const hcaptcha: Vendor = {
  name: 'hcaptcha',
  settings: (base) => ({
    SITE_KEY: '1d3a0f5e-4b7c-4e1f-9a55-0c5a4d5f7b21',
    SECRET: 'ES_fake-secret-of-the-sandbox',
    BASE_URL: base,
  }),
  routes: (parts) =>
    captchaRoutes(parts, {
      path: '/siteverify',
      tokenPrefix: 'P1_',
      judge(solved, { sitekey }) {
        if (sitekey && sitekey !== solved.sitekey) return failed('sitekey-secret-mismatch')
        if (solved.takenBy !== undefined) return failed('already-seen-response')
        if (Date.now() - solved.solvedAt > lifetimeMs) return failed('expired-input-response')
        solved.takenBy = ''
        return {
          success: true,
          challenge_ts: timeOf(solved),
          hostname: solved.hostname,
          credit: false,
        }
      },
    }),
}
