import { eraseRecipient } from '../../../db/recipients/erasure'
import { ErasureAnswer, ErasureBody } from '../../contract/privacy'
import { type ApiDeps, wakeRuns } from '../../deps'
import { readingFor } from '../../number-reading'
import { readAddress } from '../../recipient-address'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { appOrAllIn, findAppIn, requireLive } from './reach'

export const erasureRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/erasures',
    operationId: 'eraseRecipient',
    tag: 'Administration',
    summary: 'Forget a recipient',
    description:
      'Removes everything that leads back to a phone number or e-mail address, and ends its live requests. What stays are requests without a recipient, and the audit trail, which never held one. A withdrawal of consent is forgotten too. Repeating it is harmless. Without app_id an operator means every app that this process serves (OTPILOT_REGION). Not with an app’s test key.',
    scope: 'admin',
    body: ErasureBody,
    example: { phone_number: '+233241234567' },
    replies: { 200: { description: 'Forgotten.', content: ErasureAnswer } },
    errors: ['INVALID_NUMBER', 'INVALID_EMAIL', 'NOT_FOUND'],
    async handle({ key, body: { app_id, ...address } }) {
      const appId = appOrAllIn(key, app_id)
      requireLive(key)
      const app = appId === undefined ? undefined : await findAppIn(deps, key, appId)
      const { kind, value } = readAddress(address, readingFor(deps, app))
      const actor = actorOf(key)
      const { wakes, ...erased } = await eraseRecipient(deps.db, deps.keyring, {
        kind,
        value,
        appId,
        servedBy: deps,
        actor,
      })
      wakeRuns(deps, wakes)
      return { body: { erased } }
    },
  })
