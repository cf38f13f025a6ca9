import { testNumberProvider } from '../../core/protection/number'
import { channels } from '../../core/channel'
import type { ProviderAccount } from '../provider'

/** The account of numbers with a fixed code: it takes every message, and none of them goes anywhere. */
export const testNumberAccount: ProviderAccount = {
  name: testNumberProvider,
  adapter: testNumberProvider,
  channels,
  test: true,
  sender: {
    send: ({ attemptId, channel }) =>
      Promise.resolve({
        providerMessageId: attemptId,
        report: {
          status: channel === 'voice' ? 'answered' : 'delivered',
          rawStatus: 'test number',
        },
      }),
  },
}
