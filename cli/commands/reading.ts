import { readingFor } from '../../api/number-reading'
import type { Reading } from '../../api/phone-number'
import { loadPolicy } from '../../config/policy'
import { readInstallation } from './installation'

/**
 * How the API of this installation reads numbers for an app.
 * @throws an Error for a policy file that is none
 */
export function readingOf(app: Parameters<typeof readingFor>[1]): Reading {
  const { variables } = readInstallation(process.env)
  const loaded = loadPolicy(variables.OTPILOT_POLICY_FILE)
  if (!loaded.success) throw new Error(loaded.faults.join('\n'))
  const { policy } = loaded
  return readingFor(
    { routing: { policy }, isProduction: variables.OTPILOT_ENV === 'production' },
    app,
  )
}
