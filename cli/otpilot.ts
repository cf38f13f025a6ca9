import { Command } from 'commander'
import { addAppCommands } from './commands/apps'
import { addAuditCommands } from './commands/audit'
import { addErasureCommand } from './commands/erase'
import { addKeyFileCommands } from './commands/key-file'
import { addReencryptCommand } from './commands/reencrypt'
import { addKeyCommands } from './commands/keys'
import { addTableCommands } from './commands/tables'

const program = new Command('otpilot').description('Administers an otpilot installation.')
for (const add of [
  addTableCommands,
  addKeyFileCommands,
  addReencryptCommand,
  addAppCommands,
  addKeyCommands,
  addErasureCommand,
  addAuditCommands,
])
  add(program)

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
