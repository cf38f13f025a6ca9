import { Command } from 'commander'
import { addAlertCommands } from './commands/alerts'
import { addAppCommands } from './commands/apps'
import { addAuditCommands } from './commands/audit'
import { addBudgetCommand } from './commands/budgets'
import { addBlockCommands } from './commands/blocks'
import { addErasureCommand } from './commands/erase'
import { addKeyFileCommands } from './commands/key-file'
import { addReencryptCommand } from './commands/reencrypt'
import { addKeyCommands } from './commands/keys'
import { addListCommands } from './commands/lists'
import { addPolicyCommands } from './commands/policy'
import { addProviderCommand } from './commands/providers'
import { addRouteCommand } from './commands/route'
import { addTableCommands } from './commands/tables'
import { addTemplateCommands } from './commands/templates'
import { addTestNumberCommands } from './commands/test-numbers'

const program = new Command('otpilot').description('Administers an otpilot installation.')
for (const add of [
  addTableCommands,
  addKeyFileCommands,
  addReencryptCommand,
  addAppCommands,
  addTemplateCommands,
  addKeyCommands,
  addErasureCommand,
  addListCommands,
  addTestNumberCommands,
  addBlockCommands,
  addAuditCommands,
  addRouteCommand,
  addProviderCommand,
  addAlertCommands,
  addBudgetCommand,
  addPolicyCommands,
])
  add(program)

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
