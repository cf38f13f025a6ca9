import type { Command } from 'commander'
import { bringUpToDate } from '../tables'
import { databaseUrl } from './connection'

export const addTableCommands = (program: Command): void => {
  program
    .command('migrate')
    .description('brings the tables of DATABASE_URL up to date')
    .action(() => bringUpToDate(databaseUrl()))
}
