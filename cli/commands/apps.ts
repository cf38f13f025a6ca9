import type { Command } from 'commander'
import { environments } from '../../core/state'
import type { Environment } from '../../core/state'
import { createApiKey, createApp, setQueueWhenDown } from '../../db/apps'
import { withDatabase } from './connection'

const environmentOf = (text: string): Environment => {
  const environment = environments.find((known) => known === text)
  if (!environment) throw new Error(`A key is for one of: ${environments.join(', ')}.`)
  return environment
}

export const addAppCommands = (program: Command): void => {
  program
    .command('create-key')
    .description('makes an app where there is none of that id, and an API key for it, printed once')
    .argument('<app>', 'id of the app, such as "shop"')
    .argument('<environment>', environments.join(', '))
    .option('--name <name>', 'what the app is called')
    .option('--scopes <scopes>', 'comma-separated', 'send,verify,read')
    .action((app: string, environment: string, options: { name?: string; scopes: string }) =>
      withDatabase(async (db) => {
        await createApp(db, { id: app, name: options.name ?? app })
        const scopes = options.scopes.split(',')
        const made = { appId: app, environment: environmentOf(environment), scopes }
        console.log((await createApiKey(db, made)).key)
      }),
    )

  program
    .command('queue-when-down')
    .description('decides whether sends of an app are accepted as "queued" while Temporal is down')
    .argument('<app>', 'id of the app, such as "shop"')
    .argument('<on|off>', 'on: queued, with 202; off: refused, with 503')
    .action((app: string, choice: string) =>
      withDatabase(async (db) => {
        if (choice !== 'on' && choice !== 'off') throw new Error('Say "on" or "off".')
        if (!(await setQueueWhenDown(db, app, choice === 'on')))
          throw new Error(`There is no app "${app}".`)
      }),
    )
}
