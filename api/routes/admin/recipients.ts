import { environments, isLive } from '../../../core/requests/state'
import type { ApiKey } from '../../../db/apps/api-keys'
import { auditAdmin } from '../../../db/audit/entry'
import { unlockBudget } from '../../../db/verify/check-budgets'
import { UnlockAnswer, UnlockBody } from '../../contract/admin'
import type { ApiDeps } from '../../deps'
import { readingFor } from '../../number-reading'
import { readAddress } from '../../recipient-address'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { findAppIn, isTestKeyOfApp } from './reach'

export const recipientRoutes = (deps: ApiDeps) => [unlockRoute(deps)]

const unlockRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/recipients/unlock',
    operationId: 'unlockRecipient',
    tag: 'Administration',
    summary: 'Let a recipient check codes again',
    description:
      'Forgets the wrong checks that count against the recipient across requests, in every environment; with an app’s test key, in those of test keys. Make sure first that it is the owner who asks.',
    scope: 'admin',
    body: UnlockBody,
    example: { app_id: 'shop', phone_number: '+233241234567' },
    replies: { 200: { description: 'The recipient may check again.', content: UnlockAnswer } },
    errors: ['INVALID_NUMBER', 'INVALID_EMAIL', 'NOT_FOUND'],
    async handle({ key, body }) {
      const app = await findAppIn(deps, key, body.app_id)
      const { kind, value } = readAddress(body, readingFor(deps, app))
      const unlocked = await deps.db.transaction(async (tx) => {
        const done = await unlockBudget(
          tx,
          deps.keyring,
          { appId: app.id, kind, value },
          environmentsOf(key),
        )
        // Nothing in the trail may say whose budget it was: the actor and the time lead to the call in the log.
        if (done)
          await tx.many(auditAdmin({ appId: app.id, type: 'budget_unlocked', actor: actorOf(key) }))
        return done
      })
      return { body: { unlocked } }
    },
  })

/** Where a key may let people check again: whoever tests an integration has no say about real codes. */
const environmentsOf = (key: ApiKey) =>
  isTestKeyOfApp(key) ? environments.filter((one) => !isLive(one)) : environments
