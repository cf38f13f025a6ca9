import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { alertRuleNames } from '../../core/alerts/rule'
import { Problem } from '../problem'
import { route } from '../route'

const folder = join(process.cwd(), 'docs', 'runbooks')

/** What alerts lead to: the pages of this version, readable wherever the alert is read. */
export const runbookRoute = () =>
  route({
    method: 'get',
    path: '/runbooks/{rule}',
    operationId: 'runbook',
    tag: 'Documentation',
    summary: 'What an alert means and what to do',
    scope: null,
    replies: { 200: { description: 'The page.', content: 'text/markdown' } },
    async handle({ params }) {
      const rule = alertRuleNames.find((name) => name === params.rule)
      if (!rule) throw new Problem('NOT_FOUND')
      const body = await readFile(join(folder, `${rule}.md`), 'utf8')
      return { body, contentType: 'text/markdown; charset=utf-8' }
    },
  })
