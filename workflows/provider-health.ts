import { proxyActivities } from '@temporalio/workflow'
import type { Activities } from '../activities'

const { checkProviders } = proxyActivities<Pick<Activities, 'checkProviders'>>({
  // Pings take 5 s at most; the next run comes in half a minute, so this one is not repeated.
  startToCloseTimeout: '20s',
  scheduleToCloseTimeout: '28s',
  retry: { maximumAttempts: 1 },
})

/** Looks after all provider accounts once; a schedule starts it. */
export const providerHealth = (): ReturnType<typeof checkProviders> => checkProviders()
