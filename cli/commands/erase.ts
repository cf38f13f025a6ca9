import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { eitherAddress, readAddress } from '../../api/recipient-address'
import { findApp } from '../../db/apps/apps'
import { eraseRecipient } from '../../db/recipients/erasure'
import { withDatabase } from './connection'
import { fileOption, usualKeyFile, withKeys } from './key-file'
import { readingOf } from './reading'

export const addErasureCommand = (program: Command): void => {
  program
    .command('erase')
    .description('forgets the phone number or e-mail address that it reads from standard input')
    .option('--app <app>', 'only what this app knows; without it, every app')
    .option(...fileOption, usualKeyFile())
    .action(async ({ app, file }: { app?: string; file: string }) => {
      // An argument would be seen by everybody on this machine, and stay in the shell's history.
      const input = (await text(process.stdin)).trim()
      if (input === '')
        throw new Error('Give one phone number or e-mail address on standard input.')
      await withKeys(file, (keyring) =>
        withDatabase(async (db) => {
          const found = app === undefined ? undefined : await findApp(db, app)
          if (app !== undefined && !found) throw new Error(`There is no app "${app}".`)
          const { kind, value } = readAddress(eitherAddress(input), readingOf(found))
          const addressee = { kind, value, appId: app, actor: 'cli' }
          const { recipients, requests } = await eraseRecipient(db, keyring, addressee)
          console.log(JSON.stringify({ erased: { recipients, requests } }))
        }),
      )
    })
}
