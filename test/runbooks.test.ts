import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { alertRuleNames } from '../core/alerts/rule'

const folder = join(__dirname, '..', 'docs', 'runbooks')

test('every rule has a page, and every page a rule', () => {
  expect(readdirSync(folder).toSorted()).toEqual(
    alertRuleNames.map((rule) => `${rule}.md`).toSorted(),
  )
})

test.each(alertRuleNames)('the page of %s answers the four questions', (rule) => {
  const page = readFileSync(join(folder, `${rule}.md`), 'utf8')
  const parts = page.split(/^## /m).map((part) => part.split('\n'))
  expect(parts.slice(1).map(([heading]) => heading)).toEqual([
    'What it means',
    'How to see more',
    'What to do',
    'How it ends',
  ])
  for (const [, ...lines] of parts.slice(1))
    expect(lines.join('').trim().length).toBeGreaterThan(15)
  expect(page).toContain(`Alert \`${rule}\`.`)
  for (const [, link = ''] of page.matchAll(/\]\((\w+)\.md\)/g))
    expect(alertRuleNames).toContain(link)
})

test('the image brings them along', () => {
  const read = (name: string) => readFileSync(join(__dirname, '..', name), 'utf8')
  expect(read('Dockerfile')).toContain('COPY docs/runbooks docs/runbooks')
  expect(read('.dockerignore')).toContain('!docs/runbooks')
})
