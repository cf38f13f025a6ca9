import { Command } from 'commander'
import { addAppCommands } from './commands/apps'
import { addAuditCommands } from './commands/audit'
import { addErasureCommand } from './commands/erase'
import { addKeyFileCommands } from './commands/key-file'
import { addReencryptCommand } from './commands/reencrypt'
import { addKeyCommands } from './commands/keys'
import { addPolicyCommands } from './commands/policy'
import { addProviderCommand } from './commands/providers'
import { addRouteCommand } from './commands/route'
import { addTableCommands } from './commands/tables'
import { addTemplateCommands } from './commands/templates'

const program = new Command('otpilot').description('Administers an otpilot installation.')
for (const add of [
  addTableCommands,
  addKeyFileCommands,
  addReencryptCommand,
  addAppCommands,
  addTemplateCommands,
  addKeyCommands,
  addErasureCommand,
  addAuditCommands,
  addRouteCommand,
  addProviderCommand,
  addPolicyCommands,
])
  add(program)

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
