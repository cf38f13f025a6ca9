import { findDialledCode } from '../../db/attempts/ussd'
import { noteRefusedAccountCallback } from '../../db/attempts/receipts'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import { route } from '../route'
import { authenticOr, callbackOf } from './provider-callbacks'
import { record } from './receipts'

export const ussdRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/ussd/{provider}/session',
    operationId: 'ussdSession',
    tag: 'Callbacks',
    summary: 'A USSD session: shows the code that waits for the number',
    description: 'Authenticated as that provider does it, and answered in its format.',
    scope: null,
    rawBody: true,
    replies: { 200: { description: 'The screen to show.', content: '*/*' } },
    errors: ['INVALID_SIGNATURE'],
    async handle(call) {
      const { provider = '' } = call.params
      const ussd = deps.routing.accounts.get(provider)?.ussd
      if (!ussd) throw new Problem('NOT_FOUND')
      const inbound = callbackOf(deps, call, { path: `/ussd/${provider}/session` })
      const dial = await authenticOr(
        () => ussd.readDial(inbound),
        () => noteRefusedAccountCallback(deps.db, provider),
      )
      if (!dial) return { body: { received: true } }
      const { sessionId, phoneNumber } = dial
      const waiting = await findDialledCode(deps.db, deps.keyring, { provider, phoneNumber })
      if (!waiting) return ussd.showScreen(dial, { text: 'No code is waiting for this number.' })
      const { attempt, code } = waiting
      await record(deps, attempt, {
        status: 'delivered',
        rawStatus: 'dialled',
        eventKey: `dial:${attempt.id}:${sessionId}`,
      })
      return ussd.showScreen(dial, { text: `Your code is ${code}. Do not share it.`, code })
    },
  })
