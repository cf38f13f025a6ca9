import { Command } from 'commander'
import { existsSync } from 'node:fs'
import { environments } from '../core/state'
import type { Environment } from '../core/state'
import { makeKeyFile } from '../codes/key-file'
import { createApiKey, createApp, setQueueWhenDown } from '../db/apps'
import { createDatabase } from '../db'
import { bringUpToDate } from './tables'

const databaseUrl = (): string => {
  const url = process.env.DATABASE_URL
  if (!url) throw new Error('DATABASE_URL is not set: name the Postgres of this installation.')
  return url
}

const environmentOf = (text: string): Environment => {
  const environment = environments.find((known) => known === text)
  if (!environment) throw new Error(`A key is for one of: ${environments.join(', ')}.`)
  return environment
}

const program = new Command('otpilot').description('Administers an otpilot installation.')

program
  .command('migrate')
  .description('brings the tables of DATABASE_URL up to date')
  .action(() => bringUpToDate(databaseUrl()))

program
  .command('make-key-file')
  .description('writes new random keys to a file, or leaves the file that is there')
  .argument('<file>')
  .action((file: string) => {
    if (!existsSync(file)) makeKeyFile(file)
  })

program
  .command('create-key')
  .description('makes an app where there is none of that id, and an API key for it, printed once')
  .argument('<app>', 'id of the app, such as "shop"')
  .argument('<environment>', environments.join(' or '))
  .option('--name <name>', 'what the app is called')
  .option('--scopes <scopes>', 'comma-separated', 'send,verify,read')
  .action(async (app: string, environment: string, options: { name?: string; scopes: string }) => {
    const db = createDatabase(databaseUrl(), { max: 1, applicationName: 'otpilot cli' })
    try {
      await createApp(db, { id: app, name: options.name ?? app })
      const scopes = options.scopes.split(',')
      const made = { appId: app, environment: environmentOf(environment), scopes }
      console.log((await createApiKey(db, made)).key)
    } finally {
      await db.close()
    }
  })

program
  .command('queue-when-down')
  .description('decides whether sends of an app are accepted as "queued" while Temporal is down')
  .argument('<app>', 'id of the app, such as "shop"')
  .argument('<on|off>', 'on: queued, with 202; off: refused, with 503')
  .action(async (app: string, choice: string) => {
    if (choice !== 'on' && choice !== 'off') throw new Error('Say "on" or "off".')
    const db = createDatabase(databaseUrl(), { max: 1, applicationName: 'otpilot cli' })
    try {
      if (!(await setQueueWhenDown(db, app, choice === 'on')))
        throw new Error(`There is no app "${app}".`)
    } finally {
      await db.close()
    }
  })

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
