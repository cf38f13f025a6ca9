import {
  maxTestNumbers,
  putTestNumber,
  readTestNumbers,
  removeTestNumber,
} from '../../../db/protection/test-numbers'
import {
  RemovedAnswer,
  TestNumberAnswer,
  TestNumberBody,
  TestNumbersAnswer,
  TestNumbersQuery,
} from '../../contract/numbers'
import type { ApiDeps } from '../../deps'
import { readingFor } from '../../number-reading'
import { readPhoneNumber } from '../../phone-number'
import { Problem } from '../../problem'
import { route } from '../../route'
import { actorOf } from '../../send-wish'
import { findAppIn, requireLive } from './reach'
import { putOrRefuse, testCodeOf, testNumberAnswerOf } from './translate-numbers'

const tag = 'Administration'

export const testNumberRoutes = (deps: ApiDeps) => [
  putRoute(deps),
  readRoute(deps),
  removeRoute(deps),
]

const putRoute = (deps: ApiDeps) =>
  route({
    method: 'post',
    path: '/admin/test-numbers',
    operationId: 'putTestNumber',
    tag,
    summary: 'Give a number a fixed code, for tests and the review of an app',
    description: `Sends to it make requests as any other, with live and publishable keys too, and their code is always this one. No message leaves, nothing is paid, and nothing of it counts as a code that came back or did not. The limits of checks hold. Whoever knows number and code passes as its user: use a fictional number, which nobody can own. A number at which a code was verified, and a code such as 123456, are refused. At most ${maxTestNumbers} per app.`,
    scope: 'admin',
    body: TestNumberBody,
    example: { app_id: 'shop', phone_number: '+233241234567', code: '246810' },
    replies: { 200: { description: 'It has this code from now on.', content: TestNumberAnswer } },
    errors: ['INVALID_NUMBER', 'NOT_FOUND'],
    async handle({ key, body }) {
      const app = await findAppIn(deps, key, body.app_id)
      requireLive(key)
      const { number: phoneNumber } = readPhoneNumber(body.phone_number, readingFor(deps, app))
      const put = await putTestNumber(deps.db, deps.keyring, {
        appId: app.id,
        phoneNumber,
        code: testCodeOf(body.code, app),
        actor: actorOf(key),
      })
      if (!put) throw new Problem('NOT_FOUND')
      return { body: testNumberAnswerOf(app.id, putOrRefuse(put)) }
    },
  })

const readRoute = (deps: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/test-numbers',
    operationId: 'readTestNumbers',
    tag,
    summary: 'Read an app’s test numbers and their codes',
    scope: 'admin',
    query: TestNumbersQuery,
    replies: { 200: { description: 'All of them.', content: TestNumbersAnswer } },
    errors: ['NOT_FOUND'],
    async handle({ key, query }) {
      const app = await findAppIn(deps, key, query.app_id)
      requireLive(key)
      const found = await readTestNumbers(deps.db, deps.keyring, app.id)
      return { body: { test_numbers: found.map((one) => testNumberAnswerOf(app.id, one)) } }
    },
  })

const removeRoute = (deps: ApiDeps) =>
  route({
    method: 'delete',
    path: '/admin/test-numbers/{test_number_id}',
    operationId: 'removeTestNumber',
    tag,
    summary: 'Make a test number a number as any other',
    description: 'A live request keeps the fixed code until its end.',
    scope: 'admin',
    replies: { 200: { description: 'It is none any more.', content: RemovedAnswer } },
    async handle({ key, params }) {
      requireLive(key)
      const removed = await removeTestNumber(deps.db, {
        id: params.test_number_id ?? '',
        appId: key.app?.id,
        servedBy: { region: deps.region },
        actor: actorOf(key),
      })
      if (!removed) throw new Problem('NOT_FOUND')
      return { body: { removed: true } }
    },
  })
