import type { ApiKey } from '../../../db/apps/api-keys'
import {
  maxListEntries,
  putListEntry,
  readListEntries,
  removeListEntry,
} from '../../../db/protection/lists'
import {
  ListAnswer,
  ListEntryAnswer,
  ListEntryBody,
  ListQuery,
  RemovedAnswer,
} from '../../contract/numbers'
import type { ApiDeps } from '../../deps'
import { readingFor } from '../../number-reading'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { readPage } from './page'
import { appOrAllIn, findAppIn, requireLive } from './reach'
import { entryAnswerOf, newEntryOf } from './translate-numbers'

const tag = 'Administration'

export const listRoutes = (deps: ApiDeps) => [putRoute(deps), readRoute(deps), removeRoute(deps)]

/** The app whose list a call is about, or null for the operators' own. */
async function ownerIn(deps: ApiDeps, key: ApiKey, named: string | undefined) {
  const id = appOrAllIn(key, named)
  return id === undefined ? null : findAppIn(deps, key, id)
}

const putRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/lists',
    operationId: 'putListEntry',
    tag,
    summary: 'Put a number, an address or a place on an allow or block list',
    description:
      'It counts from the next send, resend or next channel that is asked for, in every environment, and replaces an entry about the same. The most exact entry counts: a number before a prefix, a longer prefix before a shorter one, a country last; of two that are as exact, the block. The app’s list and the operators’ speak each for themselves, and so do entries about the recipient and about the end user’s network: one block is enough.',
    scope: 'admin',
    body: ListEntryBody,
    example: { app_id: 'shop', verdict: 'block', kind: 'prefix', value: '+233900' },
    replies: { 200: { description: 'On the list.', content: ListEntryAnswer } },
    errors: ['INVALID_NUMBER', 'INVALID_EMAIL', 'NOT_FOUND'],
    async handle({ key, body }) {
      const app = await ownerIn(deps, key, body.app_id)
      requireLive(key)
      const put = await putListEntry(deps.db, deps.keyring, {
        ...newEntryOf(body, readingFor(deps, app)),
        appId: app?.id ?? null,
        actor: actorOf(key),
      })
      if (put === 'full')
        throw new Problem('INVALID_REQUEST', {
          detail: `A list has at most ${maxListEntries} entries: remove some, or name their prefix.`,
        })
      return { body: entryAnswerOf(put) }
    },
  })

const readRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/lists',
    operationId: 'readList',
    tag,
    summary: 'Read the entries of an app’s list, or of the operators’',
    description: 'Entries whose time is over are not among them.',
    scope: 'admin',
    query: ListQuery,
    replies: { 200: { description: 'One page.', content: ListAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query: { app_id, limit, cursor } }) {
      const app = await ownerIn(deps, key, app_id)
      requireLive(key)
      const { rows, next } = await readPage(limit, (most) =>
        readListEntries(deps.db, deps.keyring, {
          appId: app?.id ?? null,
          after: cursor,
          limit: most,
        }),
      )
      return { body: { entries: rows.map(entryAnswerOf), next_cursor: next?.id ?? null } }
    },
  })

const removeRoute = (deps: ApiDeps) =>
  route({
    method: 'delete',
    path: '/admin/lists/{entry_id}',
    operationId: 'removeListEntry',
    tag,
    summary: 'Take an entry off its list',
    description: 'Its own for the key of an app, any for an operator.',
    scope: 'admin',
    replies: { 200: { description: 'It counts no more.', content: RemovedAnswer } },
    async handle({ key, params }) {
      requireLive(key)
      const removed = await removeListEntry(deps.db, {
        id: params.entry_id ?? '',
        appId: key.app?.id,
        servedBy: { region: deps.region },
        actor: actorOf(key),
      })
      if (!removed) throw new Problem('NOT_FOUND')
      return { body: { removed: true } }
    },
  })
