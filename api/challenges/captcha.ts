import { createHash } from 'node:crypto'
import type { Dispatcher } from 'undici'
import type { Logger } from 'pino'
import { z } from 'zod'
import { isBinding } from '../../codes/challenge-binding'
import type { Keyring } from '../../codes/keyring'
import type { ChallengeAccount } from '../../config/challenges'
import { type Answer, type FormFields, postForm } from '../../providers/http'
import { type ChallengeVerifier, type HandedIn, refused } from './challenge'

/** A user waits meanwhile. */
const patienceMs = 2_000
/** A vendor that did not answer is left alone for so long: else each send would wait for it. */
const quietMs = 5_000
/** From when it was solved; the vendors' own are no longer. */
const lifetimeMs = 300_000

/** What vendors take of a token, in characters: a longer one is none, and might be refused in ways they do not document. */
const longestToken = { turnstile: 2_048, hcaptcha: 8_192 } as const
/** Refused for what the call holds, which is the caller's: no outage, also where the answer is a page of a proxy. */
const refusedAsCalled: readonly number[] = [400, 413, 414, 422, 431]

/** What is the installation's fault or the vendor's own: it says nothing of the token. */
const notOfToken = new Set(['missing-input-secret', 'invalid-input-secret', 'internal-error'])

/** What both vendors say, in the same words. */
const Said = z.object({
  success: z.boolean(),
  'error-codes': z.array(z.string()).catch([]),
  challenge_ts: z.string().optional().catch(undefined),
  hostname: z.string().optional().catch(undefined),
  action: z.string().optional().catch(undefined),
  cdata: z.string().optional().catch(undefined),
})
type Said = z.infer<typeof Said>

/** One vendor's way. */
interface Vendor {
  name: 'turnstile' | 'hcaptcha'
  path: string
  fieldsOf(account: ChallengeAccount, token: string): FormFields
  /** Whether what was solved is what it is handed in for, as far as the vendor can tell. */
  fits(said: Said, use: HandedIn, keyring: Keyring): boolean
}

/** What a page gives the widget as its action. */
export const widgetAction = (action: HandedIn['action']): string => `otp_${action}`

export const turnstile: Vendor = {
  name: 'turnstile',
  path: '/turnstile/v0/siteverify',
  // A call that comes twice is answered as the first time; that a token counts once is seen to by us.
  fieldsOf: (_account, token) => ({ idempotency_key: uuidOf(token) }),
  fits({ action, cdata = '' }, use, keyring) {
    const bound = { app: use.app, action: use.action }
    return (
      action === widgetAction(use.action) &&
      (isBinding(keyring, cdata, bound) ||
        isBinding(keyring, cdata, { ...bound, recipient: use.recipient }))
    )
  },
}

export const hcaptcha: Vendor = {
  name: 'hcaptcha',
  path: '/siteverify',
  fieldsOf: ({ siteKey }) => ({ sitekey: siteKey }),
  // It takes nothing that it would hand back: the site key and the hosts are what binds its tokens.
  fits: () => true,
}

/** Asks a vendor about tokens; a vendor that does not answer, or not as documented, has said nothing. */
export function captchaVerifier(
  vendor: Vendor,
  account: ChallengeAccount,
  { keyring, dispatcher, logger }: { keyring: Keyring; dispatcher: Dispatcher; logger: Logger },
): ChallengeVerifier {
  let quietUntil = 0
  const missed = (why: object) => {
    quietUntil = performance.now() + quietMs
    logger.warn(
      { vendor: vendor.name, ...why },
      'challenges of a vendor cannot be checked: proof of work stands in for them',
    )
    return { outcome: 'unavailable' as const }
  }
  const ask = (token: string, address: string | undefined) =>
    postForm(
      dispatcher,
      {
        url: account.baseUrl + vendor.path,
        headers: {},
        fields: {
          secret: account.secret,
          response: token,
          remoteip: address,
          ...vendor.fieldsOf(account, token),
        },
      },
      AbortSignal.timeout(patienceMs),
    )

  return async (token, use) => {
    // Whoever can make an outage up is given proof of work instead.
    if (token === '' || token.length > longestToken[vendor.name]) return refused('unsolved')
    if (performance.now() < quietUntil) return { outcome: 'unavailable' }
    let answer: Answer
    try {
      answer = await ask(token, use.address)
    } catch (error) {
      return missed({ err: error })
    }
    const { data: said } = Said.safeParse(answer.body)
    const codes = said?.['error-codes'] ?? []
    if (!said && refusedAsCalled.includes(answer.status)) return refused('unsolved')
    if (!said || answer.status >= 500 || codes.some((code) => notOfToken.has(code)))
      return missed({ status: answer.status, codes: codes.filter((code) => notOfToken.has(code)) })
    if (!said.success) return refused('unsolved')
    return judge(said, token, use)
  }

  function judge(said: Said, token: string, use: HandedIn) {
    const { hosts } = use.accepted
    if (hosts && !hosts.includes(said.hostname?.toLowerCase() ?? '')) return refused('page')
    if (!vendor.fits(said, use, keyring)) return refused('binding')
    const solvedAt = Date.parse(said.challenge_ts ?? '')
    if (Number.isNaN(solvedAt)) return missed({ status: 'no challenge_ts' })
    return {
      outcome: 'solved' as const,
      id: `${vendor.name}:${digestOf(token).toString('base64url')}`,
      // The vendor's clock may be ahead of ours.
      expiresAt: new Date(Math.min(solvedAt, Date.now()) + lifetimeMs),
    }
  }
}

const digestOf = (token: string): Buffer => createHash('sha256').update(token).digest()

/** The same one for the same token. */
const uuidOf = (token: string): string =>
  digestOf(token)
    .toString('hex', 0, 16)
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
