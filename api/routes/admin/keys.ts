import {
  type ApiKeyView,
  createApiKey,
  findKeyView,
  listKeys,
  revokeKey,
  rotateKey,
} from '../../../db/apps/api-keys'
import {
  KeyAnswer,
  KeyBody,
  keyId,
  KeysAnswer,
  KeysQuery,
  MadeKeyAnswer,
  RotationBody,
} from '../../contract/admin'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { type AdminCall, route } from '../../route'
import { actorOf } from '../../send-wish'
import { readPage } from './page'
import { appsIn, findAppIn, requireEnvironment, requireOperator } from './reach'
import { keyAnswerOf, madeKeyAnswerOf, newKeyOf } from './translate'

const tag = 'Administration'
/** In seconds. */
export const usualOverlap = 86_400

export const keyRoutes = (deps: ApiDeps) => [
  createRoute(deps),
  listRoute(deps),
  readRoute(deps),
  revokeRoute(deps),
  rotateRoute(deps),
]

const createRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/keys',
    operationId: 'createKey',
    tag,
    summary: 'Make an API key',
    description:
      'The key itself is in this answer and nowhere else. The key of an app makes keys of that app; a test key makes no live ones.',
    scope: 'admin',
    body: KeyBody,
    example: {
      app_id: 'shop',
      name: 'checkout service',
      environment: 'staging',
      scopes: ['send', 'verify'],
      expires_in_days: 365,
    },
    replies: { 200: { description: 'Made; it works at once.', content: MadeKeyAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, body }) {
      const appId = body.app_id === null ? null : (await findAppIn(deps, key, body.app_id)).id
      if (appId === null) requireOperator(key)
      requireEnvironment(key, body, whatOfKeys)
      const made = await createApiKey(deps.db, { ...newKeyOf(body), appId }, actorOf(key))
      return { body: madeKeyAnswerOf(made) }
    },
  })

const listRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/keys',
    operationId: 'listKeys',
    tag,
    summary: 'List API keys',
    description:
      'Those of every app and of operators for an operator, its own for the key of an app.',
    scope: 'admin',
    query: KeysQuery,
    replies: { 200: { description: 'One page. No key is in it.', content: KeysAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query: { app_id, state, limit, cursor } }) {
      const apps = await appsIn(deps, key, app_id)
      const { rows, next } = await readPage(limit, (most) =>
        listKeys(deps.db, { ...apps, state, after: cursor, limit: most }),
      )
      return { body: { keys: rows.map(keyAnswerOf), next_cursor: next?.id ?? null } }
    },
  })

const readRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/keys/{key_id}',
    operationId: 'readKey',
    tag,
    summary: 'Read what an API key may do, and when it was last used',
    scope: 'admin',
    replies: { 200: { description: 'The key without its secret.', content: KeyAnswer } },
    handle: async (call) => ({ body: keyAnswerOf(await keyInPath(deps, call)) }),
  })

const revokeRoute = (deps: ApiDeps) =>
  route({
    method: 'delete',
    path: '/admin/keys/{key_id}',
    operationId: 'revokeKey',
    tag,
    summary: 'Revoke an API key',
    description:
      'It works nowhere any more after five seconds at most. Revoking it again changes nothing.',
    scope: 'admin',
    replies: { 200: { description: 'Revoked.', content: KeyAnswer } },
    async handle(call) {
      const { id } = await ownKeyInPath(deps, call)
      const revoked = await revokeKey(deps.db, id, byCallerOf(call))
      if (!revoked) throw new Problem('NOT_FOUND')
      return { body: keyAnswerOf(revoked) }
    },
  })

const rotateRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/keys/{key_id}/rotate',
    operationId: 'rotateKey',
    tag,
    summary: 'Replace an API key by a new one with the same rights',
    description:
      'Both work for overlap_seconds, a day when absent. The new one lives as long as the old one was made to. At most two keys of a line are live.',
    scope: 'admin',
    body: RotationBody,
    bodyOptional: true,
    example: { overlap_seconds: 3600 },
    replies: { 200: { description: 'The new key, shown this once.', content: MadeKeyAnswer } },
    errors: ['TOO_MANY_KEYS', 'KEY_ENDED'],
    async handle(call: AdminCall<{ overlap_seconds?: number | undefined }>) {
      const { id } = await ownKeyInPath(deps, call)
      const made = await rotateKey(deps.db, id, {
        ...byCallerOf(call),
        overlapSeconds: call.body.overlap_seconds ?? usualOverlap,
      })
      if (made === 'too_many') throw new Problem('TOO_MANY_KEYS')
      if (made === 'not_live') throw new Problem('KEY_ENDED')
      if (made === 'not_found') throw new Problem('NOT_FOUND')
      return { body: madeKeyAnswerOf(made) }
    },
  })

type CallAboutKey = Pick<AdminCall, 'key' | 'params'>

const byCallerOf = ({ key }: CallAboutKey) => ({ appId: key.app?.id, actor: actorOf(key) })

/** @throws {Problem} NOT_FOUND for what is no id, for no key, and for one of another app; WRONG_REGION for one elsewhere. */
async function keyInPath(deps: ApiDeps, { key, params }: CallAboutKey): Promise<ApiKeyView> {
  const { success, data } = keyId.safeParse(params.key_id)
  const found = success && (await findKeyView(deps.db, data, { appId: key.app?.id }))
  if (!found) throw new Problem('NOT_FOUND')
  if (found.appId !== null) await findAppIn(deps, key, found.appId)
  return found
}

/** As {@link keyInPath}, for changes. A key never moves to another app or environment, so what is read here holds. */
async function ownKeyInPath(deps: ApiDeps, call: CallAboutKey): Promise<ApiKeyView> {
  const found = await keyInPath(deps, call)
  requireEnvironment(call.key, found, whatOfKeys)
  return found
}

/** A test key that could make a live one would reach real phones after all. */
const whatOfKeys = 'live keys'
