import {
  type BlockView,
  findBlock,
  liftBlock,
  listBlocks,
  raiseByHand,
} from '../../../db/protection/blocks-by-hand'
import { listDecisions } from '../../../db/protection/decision-log'
import {
  BlockAnswer,
  BlockBody,
  blockId,
  BlocksAnswer,
  BlocksQuery,
  DecisionsAnswer,
  DecisionsQuery,
} from '../../contract/blocks'
import { cursorOf, readCursor } from '../../cursor'
import { judgementOf } from '../../decision-view'
import type { ApiDeps } from '../../deps'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { readShownNumber, shownNumber } from '../../shown-number'
import { readPage } from './page'
import { appsIn, findAppIn, requireEnvironment } from './reach'

const tag = 'Abuse protection'
const whatOfBlocks = 'blocks of the environment production'

export const blockRoutes = (deps: ApiDeps) => [
  listRoute(deps),
  raiseRoute(deps),
  liftRoute(deps),
  decisionsRoute(deps),
]

const listRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/blocks',
    operationId: 'listBlocks',
    tag,
    summary: 'List what is blocked, and what was',
    scope: 'admin',
    query: BlocksQuery,
    replies: { 200: { description: 'A page of them.', content: BlocksAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const { environment, standing: stands } = query
      const ended = query.cursor === undefined ? undefined : readCursor(query.cursor, blockId)
      const after = ended && { since: ended.at, id: ended.id }
      const apps = await appsIn(deps, key, query.app_id)
      const filter = { ...apps, environment, stands, after }
      const { rows, next } = await readPage(query.limit, (limit) =>
        listBlocks(deps.db, { ...filter, limit }),
      )
      const next_cursor = next ? cursorOf({ at: next.sinceExactly, id: next.id }) : null
      return { body: { blocks: rows.map(blockAnswerOf), next_cursor } }
    },
  })

const raiseRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/blocks',
    operationId: 'raiseBlock',
    tag,
    summary: 'Block a place by hand',
    description:
      'Sends there are treated as the app’s mode says, as if a rule had raised the block; numbers that came back with a code of late are sent to all the same. One that stands there gives way to it.',
    scope: 'admin',
    body: BlockBody,
    replies: { 200: { description: 'It stands.', content: BlockAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, body }) {
      const { id: appId } = await findAppIn(deps, key, body.app_id)
      requireEnvironment(key, body, whatOfBlocks)
      const { environment, scope, asks = 'block', seconds } = body
      const raised = await raiseByHand(deps.db, {
        appId,
        environment,
        scope,
        place: body.prefix ?? body.country,
        asks,
        seconds,
        actor: actorOf(key),
      })
      return { body: blockAnswerOf(raised) }
    },
  })

const liftRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/blocks/{block_id}/lift',
    operationId: 'liftBlock',
    tag,
    summary: 'Lift a block',
    description:
      'What its place was found guilty of is forgotten, so that it is raised again only for what comes from now on. A block that does not stand stays as it is.',
    scope: 'admin',
    replies: { 200: { description: 'It does not stand.', content: BlockAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, params }) {
      const { success, data } = blockId.safeParse(params.block_id)
      const found = success ? await findBlock(deps.db, data) : undefined
      if (!found) throw new Problem('NOT_FOUND')
      await findAppIn(deps, key, found.appId)
      requireEnvironment(key, found, whatOfBlocks)
      const lifted = await liftBlock(deps.db, { id: found.id, actor: actorOf(key) })
      return { body: blockAnswerOf(lifted ?? found) }
    },
  })

const decisionsRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/decisions',
    operationId: 'listDecisions',
    tag,
    summary: 'List what was decided about sends, refused ones too',
    description: 'Which rule said what; no personal data. Kept as long as events.',
    scope: 'admin',
    query: DecisionsQuery,
    replies: { 200: { description: 'A page of them.', content: DecisionsAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const { cursor, environment, verdict, request_id: requestId } = query
      const holder = { ...deps, key, kind: 'decision' as const }
      const before = cursor === undefined ? undefined : readShownNumber(holder, cursor)
      if (cursor !== undefined && before === undefined)
        throw new Problem('INVALID_REQUEST', { detail: 'cursor: is not one of this API.' })
      const apps = await appsIn(deps, key, query.app_id)
      const since = query.since === undefined ? undefined : new Date(query.since)
      const filter = { ...apps, environment, verdict, requestId, since, before }
      const { rows, next } = await readPage(query.limit, (limit) =>
        listDecisions(deps.db, { ...filter, limit }),
      )
      const decisions = rows.map((decision) => ({
        decision_id: shownNumber(holder, decision.id),
        request_id: decision.requestId,
        app_id: decision.appId,
        environment: decision.environment,
        country: decision.country,
        at: decision.at.toISOString(),
        ...judgementOf(decision),
        outcome: decision.outcome,
      }))
      return { body: { decisions, next_cursor: next ? shownNumber(holder, next.id) : null } }
    },
  })

/** A block, as the API and the command line show it. */
export const blockAnswerOf = (block: BlockView): BlockAnswer => ({
  block_id: block.id,
  app_id: block.appId,
  environment: block.environment,
  scope: block.scope,
  label: block.label,
  rule: block.rule,
  asks: block.asks,
  level: block.level,
  since: block.since.toISOString(),
  until: block.until?.toISOString() ?? null,
  lifted_at: block.liftedAt?.toISOString() ?? null,
  standing: block.stands,
  refused: block.refused,
  last_refused_at: block.lastRefusedAt?.toISOString() ?? null,
})
