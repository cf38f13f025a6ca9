import { deletePreference, findPreference, putPreference } from '../../db/recipients/preferences'
import {
  DeletedAnswer,
  PreferenceAnswer,
  PreferenceBody,
  RecipientBody,
} from '../contract/preferences'
import type { ApiDeps } from '../deps'
import { readingFor } from '../number-reading'
import { readAddress } from '../recipient-address'
import { type KeyCall, route } from '../route'

const addressIn = (
  deps: ApiDeps,
  { key, body }: Pick<KeyCall<Parameters<typeof readAddress>[0]>, 'key' | 'body'>,
) => {
  const { kind, value } = readAddress(body, readingFor(deps, key.app))
  return { appId: key.app.id, environment: key.environment, kind, value }
}
const errors = ['INVALID_NUMBER', 'INVALID_EMAIL'] as const

export const preferenceRoutes = (deps: ApiDeps) => [
  putRoute(deps),
  lookUpRoute(deps),
  deleteRoute(deps),
]

const putRoute = (deps: ApiDeps) =>
  route({
    method: 'put',
    path: '/preferences',
    operationId: 'putPreference',
    tag: 'Preferences',
    summary: 'Remember the channel that a recipient prefers',
    description:
      'Sends by keys of the same environment that name no channel begin with it: what a test key says here changes nothing live.',
    scope: 'send',
    body: PreferenceBody,
    example: { phone_number: '+233241234567', channel: 'whatsapp' },
    replies: { 200: { description: 'Stored.', content: PreferenceAnswer } },
    errors,
    async handle(call) {
      const address = addressIn(deps, call)
      const { channel } = call.body
      await putPreference(deps.db, deps.keyring, { ...address, channel })
      return { body: { channel } }
    },
  })

const lookUpRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/preferences/lookup',
    operationId: 'lookUpPreference',
    tag: 'Preferences',
    summary: 'Read a recipient’s preferred channel',
    scope: 'read',
    body: RecipientBody,
    example: { phone_number: '+233241234567' },
    replies: { 200: { description: 'The channel, or null.', content: PreferenceAnswer } },
    errors,
    async handle(call) {
      return {
        body: {
          channel: (await findPreference(deps.db, deps.keyring, addressIn(deps, call))) ?? null,
        },
      }
    },
  })

const deleteRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/preferences/delete',
    operationId: 'deletePreference',
    tag: 'Preferences',
    summary: 'Forget a recipient’s preferred channel',
    scope: 'send',
    body: RecipientBody,
    example: { phone_number: '+233241234567' },
    replies: { 200: { description: 'Forgotten.', content: DeletedAnswer } },
    errors,
    async handle(call) {
      return {
        body: { deleted: await deletePreference(deps.db, deps.keyring, addressIn(deps, call)) },
      }
    },
  })
