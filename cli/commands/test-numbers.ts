import type { Command } from 'commander'
import {
  putOrRefuse,
  testCodeOf,
  testNumberAnswerOf,
} from '../../api/routes/admin/translate-numbers'
import { readPhoneNumber } from '../../api/phone-number'
import { putTestNumber, readTestNumbers, removeTestNumber } from '../../db/protection/test-numbers'
import { findApp } from '../../db/apps/apps'
import { withDatabase } from './connection'
import { fileOption, usualKeyFile, withKeys } from './key-file'
import { printJson, printTable, say } from './print'
import { readingOf } from './reading'

interface Given {
  file: string
  json?: true
}

const actor = 'cli'

export const addTestNumberCommands = (program: Command): void => {
  const numbers = program
    .command('test-numbers')
    .description('numbers of an app that get a fixed code, and no message')

  numbers
    .command('add')
    .argument('<app>', 'its id')
    .argument('<number>', 'a fictional number: no account of anybody’s')
    .argument('<code>', 'of the app’s alphabet, and as long as its codes are')
    .description('gives a number a fixed code')
    .option('--json', 'print JSON')
    .option(...fileOption, usualKeyFile())
    .action((appId: string, number: string, code: string, { file, json }: Given) =>
      withKeys(file, (keyring) =>
        withDatabase(async (db) => {
          const app = await findApp(db, appId)
          if (!app) throw new Error(`There is no app "${appId}".`)
          const { number: phoneNumber } = readPhoneNumber(number, readingOf(app))
          const test = { appId, phoneNumber, code: testCodeOf(code, app), actor }
          const put = await putTestNumber(db, keyring, test)
          if (!put) throw new Error(`There is no app "${appId}".`)
          const made = putOrRefuse(put)
          say(`A test number, as ${made.id}.`)
          if (json) printJson(testNumberAnswerOf(appId, made))
        }),
      ),
    )

  numbers
    .command('list')
    .argument('<app>', 'its id')
    .description('shows them, with their codes')
    .option('--json', 'print JSON')
    .option(...fileOption, usualKeyFile())
    .action((appId: string, { file, json }: Given) =>
      withKeys(file, (keyring) =>
        withDatabase(async (db) => {
          if (!(await findApp(db, appId))) throw new Error(`There is no app "${appId}".`)
          const found = await readTestNumbers(db, keyring, appId)
          if (json) return printJson(found.map((one) => testNumberAnswerOf(appId, one)))
          printTable(
            ['ID', 'NUMBER', 'CODE'],
            found.map(({ id, phoneNumber, code }) => [id, phoneNumber, code]),
          )
        }),
      ),
    )

  numbers
    .command('remove')
    .argument('<id>', 'its id')
    .description('makes it a number as any other')
    .action((id: string) =>
      withDatabase(async (db) => {
        const removed = await removeTestNumber(db, { id, appId: undefined, actor })
        if (!removed) throw new Error(`There is no test number ${id}.`)
        say('A number as any other.')
      }),
    )
}
