import { createHash } from 'node:crypto'
import { foldTyped } from '../../core/input/fold'
import { localeOfCountry } from '../../core/messages/locale'
import { choiceScreen, codeScreen, laterScreen, nothingScreen } from '../../core/ussd/screen'
import { noteRefusedAccountCallback } from '../../db/delivery/receipts'
import { findWaitingCodes, showWaitingCode, type WaitingCode } from '../../db/ussd/dials'
import type { UssdDial, UssdMenu } from '../../providers/provider'
import { type ApiDeps, wakeRuns } from '../deps'
import { readNetworkNumber } from '../network-number'
import { readPhoneNumber } from '../phone-number'
import { Problem } from '../problem'
import { type Call, type Route, route } from '../route'
import { authenticOr, callbackOf, checkHead } from './provider-callbacks'

const session = {
  method: 'post',
  tag: 'Callbacks',
  scope: null,
  rawBody: true,
  replies: { 200: { description: 'The screen to show.', content: '*/*' } },
  errors: ['INVALID_SIGNATURE'],
} as const

/** Sessions that users open by dialling: shows the code that waits for their number. Needs Postgres only. */
export const ussdRoutes = (deps: ApiDeps): Route[] => {
  const handle = (pathOf: (provider: string, secret: string) => string) => async (call: Call) => {
    const { provider = '', secret = '' } = call.params
    const ussd = deps.routing.accounts.get(provider)?.ussd
    if (!ussd) throw new Problem('NOT_FOUND')
    const place = { path: pathOf(provider, secret) }
    await checkHead(deps, call, { provider, ...place })
    const inbound = await callbackOf(deps, call, place)
    const dial = await authenticOr(
      () => ussd.readDial(inbound),
      // Not on the checks' pool: anybody can forge one.
      () => noteRefusedAccountCallback(deps.db, provider),
    )
    if (!dial) return ussd.over ?? { body: { received: true } }
    return ussd.showScreen(dial, await screenFor(deps, provider, dial))
  }
  return [
    route({
      ...session,
      path: '/ussd/{provider}/session',
      operationId: 'ussdSession',
      summary: 'A USSD session: shows the code that waits for the number',
      description: 'Authenticated as that provider does it, and answered in its format.',
      handle: handle((provider) => `/ussd/${provider}/session`),
    }),
    route({
      ...session,
      path: '/ussd/{provider}/{secret}',
      operationId: 'ussdSessionBySecret',
      summary: 'The same, for providers that sign nothing',
      description: 'The secret in the address is the account’s CALLBACK_SECRET.',
      handle: handle((provider, secret) => `/ussd/${provider}/${secret}`),
    }),
  ]
}

type Shown = Parameters<UssdMenu['showScreen']>[1]

/** On the checks' pool: sends that wait for Postgres must not keep a user from the code that they were told to fetch. */
async function screenFor(deps: ApiDeps, provider: string, dial: UssdDial): Promise<Shown> {
  const { checksDb: db, keyring } = deps
  const spellings = readNetworkNumber(dial.phoneNumber) ?? [dial.phoneNumber]
  const [phoneNumber] = spellings
  const found = await findWaitingCodes(db, keyring, { provider, phoneNumber, spellings })
  const waiting = found ?? []
  const locale = waiting[0]?.locale ?? localeOfNumber(spellings)
  const chosen = choiceOf(waiting, dial)
  const shown = await showWaitingCode(db, keyring, {
    provider,
    phoneNumber,
    spellings,
    waiting: chosen,
    sessionKey: createHash('sha256').update(dial.sessionId).digest('hex'),
  })
  if (chosen && shown) {
    // The answer first: Temporal need not be there for it.
    setImmediate(() => wakeRuns(deps, [shown.wake]))
    const { code, template, lifetimeSeconds } = shown
    return { text: codeScreen({ ...chosen, code, template, lifetimeSeconds }), code }
  }
  if (!found) return { text: laterScreen(locale) }
  if (chosen || waiting.length === 0) return { text: nothingScreen(locale) }
  return {
    text: choiceScreen(
      locale,
      waiting.map(({ brand }) => brand),
    ),
    asks: true,
  }
}

/** The only code that waits, or the one that the user picked by its digit. */
function choiceOf(waiting: WaitingCode[], { inputs }: UssdDial): WaitingCode | undefined {
  if (waiting.length < 2) return waiting[0]
  const typed = foldTyped(inputs.at(-1) ?? '').trim()
  return /^[1-9]$/.test(typed) ? waiting[Number(typed) - 1] : undefined
}

/** What people of the number's country read; a number that no plan knows is answered too, in English. */
function localeOfNumber(spellings: readonly string[]): string {
  for (const spelling of spellings) {
    try {
      return localeOfCountry(readPhoneNumber(spelling, null).country)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
    }
  }
  return localeOfCountry(null)
}
