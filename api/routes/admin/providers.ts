import { ProvidersAnswer, ProvidersQuery } from '../../contract/providers'
import type { ApiDeps } from '../../deps'
import { reportProviders } from '../../provider-report'
import { route } from '../../route'
import { requireOperator } from './reach'

export const providersRoute = ({ db, routing }: ApiDeps) =>
  route({
    method: 'get',
    path: '/admin/providers',
    operationId: 'listProviders',
    tag: 'Administration',
    summary: 'Show how provider accounts do',
    description:
      'Operators only. Breakers and the last health ping as they are now; uptime, times, receipts, faults and costs of the last hours by channel and country.',
    scope: 'admin',
    query: ProvidersQuery,
    replies: { 200: { description: 'Every account.', content: ProvidersAnswer } },
    async handle({ key, query }) {
      requireOperator(key)
      return { body: await reportProviders(db, routing.accounts.values(), query.hours) }
    },
  })
