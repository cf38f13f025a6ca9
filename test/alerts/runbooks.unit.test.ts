import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { Command } from 'commander'
import { addAlertCommands } from '../../cli/commands/alerts'
import { addAuditCommands } from '../../cli/commands/audit'
import { addBlockCommands } from '../../cli/commands/blocks'
import { addBudgetCommand } from '../../cli/commands/budgets'
import { addKeyCommands } from '../../cli/commands/keys'
import { addListCommands } from '../../cli/commands/lists'
import { addProviderCommand } from '../../cli/commands/providers'
import { alertRuleNames } from '../../core/alerts/rule'

const folder = join(__dirname, '..', '..', 'docs', 'runbooks')

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

/** Whether the words are a command with these options, whatever is given to them. */
function isCommand([word, ...rest]: readonly string[], command: Command): boolean {
  if (word === undefined) return true
  if (word.startsWith('--'))
    return rest
      .filter((one) => one.startsWith('--'))
      .concat(word)
      .every((name) => command.options.some(({ long }) => long === name))
  const next = command.commands.find((one) => one.name() === word)
  return next ? isCommand(rest, next) : command.commands.length === 0 && isCommand(rest, command)
}

test.each(alertRuleNames)('the page of %s names commands and calls that there are', (rule) => {
  const program = new Command()
  for (const add of [
    ...[addAlertCommands, addAuditCommands, addBlockCommands, addBudgetCommand],
    ...[addKeyCommands, addListCommands, addProviderCommand],
  ])
    add(program)
  const routes = join(__dirname, '..', '..', 'api', 'routes')
  const calls = readdirSync(routes, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [
      ...readFileSync(join(routes, file), 'utf8').matchAll(/method: '(\w+)',\s+path: '([^']+)'/g),
    ])
    .map(([, method = '', path]) => `${method.toUpperCase()} ${path}`)
  const page = readFileSync(join(folder, `${rule}.md`), 'utf8')
  const spans = [...page.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span)
  for (const span of spans) {
    // An option by itself cannot be told to be of a command.
    expect(span).not.toMatch(/^--/)
    const [, words] = /^npx otpilot (.+)/.exec(span) ?? []
    if (words !== undefined)
      expect([span, isCommand(words.split(' '), program)]).toEqual([span, true])
    if (/^(GET|POST|PUT|PATCH|DELETE) /.test(span)) expect(calls).toContain(span.split('?')[0])
  }
})

test('the image brings them along', () => {
  const read = (name: string) => readFileSync(join(__dirname, '..', '..', name), 'utf8')
  expect(read('Dockerfile')).toContain('COPY docs/runbooks docs/runbooks')
  expect(read('.dockerignore')).toContain('!docs/runbooks')
})
