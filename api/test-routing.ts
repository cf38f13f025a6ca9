import { testNumberLimits } from '../core/protection/number'
import { channels } from '../core/channel'
import { isLive } from '../core/requests/state'
import { testNumberAccount } from '../providers/test-number'
import type { Routing } from './plan-for'
import type { AppKey } from './route'

/**
 * The policy as it holds for test numbers: one account serves them in the place of all others, nothing costs anything,
 * nobody is asked about the number, and more sends are let through than users need.
 */
export const routingOfTests = (
  { policy }: Routing,
  { environment, app }: Pick<AppKey, 'environment' | 'app'>,
): Routing => {
  const { name, adapter } = testNumberAccount
  const account = { name, adapter, channels: [...channels], test: !isLive(environment) }
  const { protection = {} } = policy
  const unasked = { lookup: undefined, simSwap: undefined }
  return {
    policy: {
      ...policy,
      accounts: [{ ...account, ...(app.region !== null && { region: app.region }) }],
      providers: {},
      rules: policy.rules?.map((rule) => ({ ...rule, providers: undefined })),
      costs: undefined,
      protection: {
        ...protection,
        ...unasked,
        overrides: [
          { name: 'test numbers', limits: { recipient: testNumberLimits } },
          ...(protection.overrides ?? []).map((override) => ({ ...override, ...unasked })),
        ],
      },
    },
    accounts: new Map([[name, testNumberAccount]]),
  }
}
