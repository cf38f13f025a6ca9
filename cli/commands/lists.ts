import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { ListEntryBody } from '../../api/contract/numbers'
import { entryAnswerOf, newEntryOf } from '../../api/routes/admin/translate-numbers'
import { listKinds, listVerdicts } from '../../core/protection/lists'
import { findApp } from '../../db/apps/apps'
import {
  maxListEntries,
  putListEntry,
  readListEntries,
  removeListEntry,
} from '../../db/protection/lists'
import type { Database } from '../../db/index'
import { withDatabase } from './connection'
import { fileOption, usualKeyFile, withKeys } from './key-file'
import { checked } from './options'
import { mostListed, printJson, printTable, say, shownOf } from './print'
import { readingOf } from './reading'

interface Given {
  app?: string
  note?: string
  expires?: string
  file: string
  json?: true
}

const actor = 'cli'

export const addListCommands = (program: Command): void => {
  const lists = program
    .command('lists')
    .description('numbers, addresses and places that sends are always, or never, made to')
  addEntryCommand(lists)
  addShowCommand(lists)

  lists
    .command('remove')
    .argument('<entry>', 'its id')
    .description('takes an entry off its list')
    .action((id: string) =>
      withDatabase(async (db) => {
        const removed = await removeListEntry(db, { id, appId: undefined, actor })
        if (!removed) throw new Error(`There is no entry ${id}.`)
        say('Taken off the list.')
      }),
    )
}

const addEntryCommand = (lists: Command): void => {
  lists
    .command('add')
    .argument('<verdict>', listVerdicts.join(' or '))
    .argument('<kind>', listKinds.join(', '))
    .argument('[value]', 'whom it is about; read from standard input when absent')
    .description('puts an entry on the operators’ list, or on that of an app')
    .option('--app <app>', 'the app; without it, every app')
    .option('--note <text>', 'for people')
    .option('--expires <time>', 'until when, as in RFC 3339')
    .option('--json', 'print JSON')
    .option(...fileOption, usualKeyFile())
    .action(async (verdict: string, kind: string, given: string | undefined, options: Given) => {
      // A number in an argument would be seen by everybody on this machine, and stay in the shell's history.
      const value = (given ?? (await text(process.stdin))).trim()
      const { app: appId, note, expires: expires_at } = options
      const body = checked(ListEntryBody, { verdict, kind, value, note, expires_at })
      await withKeys(options.file, (keyring) =>
        withDatabase(async (db) => {
          const app = await appNamed(db, appId)
          const put = await putListEntry(db, keyring, {
            ...newEntryOf(body, readingOf(app)),
            appId: app?.id ?? null,
            actor,
          })
          if (put === 'full') throw new Error(`A list has at most ${maxListEntries} entries.`)
          say(`On the list as ${put.id}.`)
          if (options.json) printJson(entryAnswerOf(put))
        }),
      )
    })
}

const addShowCommand = (lists: Command): void => {
  lists
    .command('list')
    .description('shows the operators’ list, or that of an app')
    .option('--app <app>', 'the app; without it, the operators’ own')
    .option('--json', 'print JSON')
    .option(...fileOption, usualKeyFile())
    .action(({ app: appId, json, file }: Given) =>
      withKeys(file, (keyring) =>
        withDatabase(async (db) => {
          const app = await appNamed(db, appId)
          const owner = { appId: app?.id ?? null, limit: mostListed + 1 }
          const entries = shownOf(await readListEntries(db, keyring, owner)).map(entryAnswerOf)
          if (json) return printJson(entries)
          printTable(
            ['ENTRY', 'VERDICT', 'KIND', 'VALUE', 'UNTIL', 'NOTE'],
            entries.map((entry) => [
              entry.entry_id,
              entry.verdict,
              entry.kind,
              entry.value,
              entry.expires_at ?? 'removed',
              entry.note ?? '',
            ]),
          )
        }),
      ),
    )
}

async function appNamed(db: Database, id: string | undefined) {
  if (id === undefined) return undefined
  const app = await findApp(db, id)
  if (!app) throw new Error(`There is no app "${id}".`)
  return app
}
