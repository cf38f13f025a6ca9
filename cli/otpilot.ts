import { Command } from 'commander'
import { addAppCommands } from './commands/apps'
import { addKeyFileCommands } from './commands/key-file'
import { addTableCommands } from './commands/tables'

const program = new Command('otpilot').description('Administers an otpilot installation.')
for (const add of [addTableCommands, addKeyFileCommands, addAppCommands]) add(program)

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
