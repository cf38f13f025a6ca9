import type { Command } from 'commander'
import { loadPolicy } from '../../config/policy'
import { policyJsonSchema } from '../../config/policy-schema'
import { settingsFaults } from '../../providers'
import { readInstallation } from './installation'
import { printJson, say } from './print'

export const addPolicyCommands = (program: Command): void => {
  const policy = program.command('policy').description('checks the policy file')

  policy
    .command('check')
    .argument('[file]', 'else OTPILOT_POLICY_FILE, else the shipped one')
    .description('names every fault with its line and field; exit code 1 then')
    .action((file: string | undefined) => {
      const { variables } = readInstallation(process.env)
      const loaded = loadPolicy(file ?? variables.OTPILOT_POLICY_FILE)
      const isProduction = variables.OTPILOT_ENV === 'production'
      const faults = loaded.success
        ? settingsFaults(loaded.policy.accounts, variables, { isProduction })
        : loaded.faults
      if (faults.length > 0 || !loaded.success) throw new Error(faults.join('\n'))
      const { accounts, rules } = loaded.policy
      for (const sentence of loaded.outdated) say(sentence)
      say(`The policy is in order: ${accounts.length} accounts, ${rules.length} rules.`)
    })

  policy
    .command('schema')
    .description('prints the JSON Schema of the policy file, for editors')
    .action(() => printJson(policyJsonSchema()))
}
