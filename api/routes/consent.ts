import { withdrawConsent } from '../../db/recipients/consent'
import { RecipientBody } from '../contract/preferences'
import { WithdrawalAnswer } from '../contract/privacy'
import { type ApiDeps, wakeRuns } from '../deps'
import { readingFor } from '../number-reading'
import { readAddress } from '../recipient-address'
import { route } from '../route'
import { actorOf, ownerOf } from '../send-wish'

export const withdrawRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/consent/withdraw',
    operationId: 'withdrawConsent',
    tag: 'Consent',
    summary: 'Send nothing more to a recipient',
    description:
      'Ends the recipient’s live requests; later sends are refused with BLOCKED until one carries a consent whose given_at is later than this. Live and test keys count apart.',
    scope: 'send',
    body: RecipientBody,
    example: { phone_number: '+233241234599' },
    replies: { 200: { description: 'Withdrawn.', content: WithdrawalAnswer } },
    errors: ['INVALID_NUMBER', 'INVALID_EMAIL'],
    async handle({ key, body }) {
      const { kind, value } = readAddress(body, readingFor(deps, key.app))
      const { cancelled, wakes } = await withdrawConsent(deps.db, deps.keyring, {
        ...ownerOf(key),
        kind,
        value,
        actor: actorOf(key),
      })
      wakeRuns(deps, wakes)
      return { body: { status: 'withdrawn', requests_cancelled: cancelled } }
    },
  })
