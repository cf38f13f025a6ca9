import { proxyActivities } from '@temporalio/workflow'
import type { Activities } from '../activities'

const { retain } = proxyActivities<Pick<Activities, 'retain'>>({
  startToCloseTimeout: '1h',
  // A batch takes three seconds at most.
  heartbeatTimeout: '30s',
  retry: { initialInterval: '10s', maximumInterval: '5m', maximumAttempts: 10 },
})

/** Removes what has had its time; a schedule starts it. */
export const retention = (): ReturnType<typeof retain> => retain()
