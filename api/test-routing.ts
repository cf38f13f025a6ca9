import { channels } from '../core/channel'
import { isLive } from '../core/state'
import { testNumberAccount } from '../providers/test-number'
import type { Routing } from './plan-for'
import type { AppKey } from './route'

/** Routes as the policy has them, with the one account that serves test numbers in the place of all others. */
export const routingOfTests = (
  { policy }: Routing,
  { environment, app }: Pick<AppKey, 'environment' | 'app'>,
): Routing => {
  const { name, adapter } = testNumberAccount
  const account = { name, adapter, channels: [...channels], test: !isLive(environment) }
  return {
    policy: {
      ...policy,
      accounts: [{ ...account, ...(app.region !== null && { region: app.region }) }],
      providers: {},
      rules: policy.rules?.map((rule) => ({ ...rule, providers: undefined })),
    },
    accounts: new Map([[name, testNumberAccount]]),
  }
}
