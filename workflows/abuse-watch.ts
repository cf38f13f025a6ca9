import { proxyActivities } from '@temporalio/workflow'
import type { Activities } from '../activities'

const { watchAbuse } = proxyActivities<Pick<Activities, 'watchAbuse'>>({
  startToCloseTimeout: '5m',
  // A page takes three seconds at most.
  heartbeatTimeout: '30s',
  retry: { initialInterval: '5s', maximumAttempts: 3 },
})

/** Looks at what only shows after a while: codes that do not come back, and what people should hear of. */
export const abuseWatch = (): ReturnType<typeof watchAbuse> => watchAbuse()
