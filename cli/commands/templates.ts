import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { channels } from '../../core/channel'
import { findApp } from '../../db/apps/apps'
import {
  deleteTemplate,
  listTemplates,
  maxTemplates,
  putTemplate,
} from '../../db/messages/templates'
import type { Database } from '../../db/index'
import { TemplateBody, TemplatePlace } from '../../api/contract/templates'
import {
  faultsIn,
  templateAnswerOf,
  templateOf,
  warningsFor,
} from '../../api/routes/admin/translate-template'
import { withDatabase } from './connection'
import { checked } from './options'
import { printJson, printTable, say } from './print'

interface PutOptions {
  text?: string
  subject?: string
  htmlFile?: string
  keyPrompt?: string
  json?: true
}

const actor = 'cli'

export const addTemplateCommands = (program: Command): void => {
  const templates = program.command('templates').description('what apps say in their own words')

  templates
    .command('list')
    .argument('<app>', 'its id')
    .description('shows those in force')
    .option('--json', 'print JSON')
    .action((appId: string, { json }: { json?: true }) =>
      withDatabase(async (db) => {
        await appNamed(db, appId)
        const all = await listTemplates(db, appId)
        if (json) return printJson(all.map((template) => templateAnswerOf(appId, template)))
        const rows = all.map(({ channel, locale, text }) => [channel, locale, text])
        printTable(['CHANNEL', 'LOCALE', 'TEXT'], rows)
      }),
    )

  placed(templates.command('set'))
    .description('sets the words on a channel, for readers of a language')
    .requiredOption(
      '--text <text>',
      'with {{code}}; {{minutes}}, {{lifetime}}, {{brand}} if wanted',
    )
    .option('--subject <text>', 'of e-mail')
    .option('--html-file <path>', 'a page for e-mail, with {{code}}')
    .option('--key-prompt <text>', 'of voice: asks for a key')
    .option('--json', 'print JSON')
    .action((appId: string, channel: string, locale: string, options: PutOptions) =>
      withDatabase(async (db) => {
        const app = await appNamed(db, appId)
        const place = checked(TemplatePlace, { channel, locale })
        const template = templateOf(checked(TemplateBody, fieldsOf(options)))
        const faults = faultsIn(template, place.channel)
        if (faults.length > 0)
          throw new Error(faults.map(({ field, message }) => `${field} ${message}.`).join('\n'))
        const put = await putTemplate(db, { appId, ...place, actor }, template)
        if (!put || put === 'full') throw new Error(`An app has at most ${maxTemplates} templates.`)
        say(`Set what ${appId} says by ${place.channel} in ${place.locale}.`)
        for (const { field, message } of warningsFor(app, place.channel, put))
          say(`Look at it: ${field} ${message}.`)
        if (options.json) printJson(templateAnswerOf(appId, put))
      }),
    )

  placed(templates.command('delete'))
    .description('takes the words back; otpilot’s own stand in')
    .action((appId: string, channel: string, locale: string) =>
      withDatabase(async (db) => {
        await appNamed(db, appId)
        const place = checked(TemplatePlace, { channel, locale })
        const deleted = await deleteTemplate(db, { appId, ...place, actor })
        say(deleted ? 'Taken back.' : 'There was none.')
      }),
    )
}

const placed = (command: Command): Command =>
  command
    .argument('<app>', 'its id')
    .argument('<channel>', channels.join(', '))
    .argument('<locale>', 'such as fr or fr-CI')

const fieldsOf = ({ text, subject, htmlFile, keyPrompt }: PutOptions) => ({
  text,
  subject,
  html: htmlFile === undefined ? undefined : readFileSync(htmlFile, 'utf8'),
  key_prompt: keyPrompt,
})

async function appNamed(db: Database, id: string) {
  const app = await findApp(db, id)
  if (!app) throw new Error(`There is no app "${id}".`)
  return app
}
