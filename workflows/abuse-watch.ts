import { proxyActivities } from '@temporalio/workflow'
import type { Activities } from '../activities'

const { watchAbuse } = proxyActivities<Pick<Activities, 'watchAbuse'>>({
  startToCloseTimeout: '5m',
  // A page takes three seconds at most.
  heartbeatTimeout: '30s',
  retry: { initialInterval: '5s', maximumAttempts: 3 },
})
const { watchAlerts } = proxyActivities<Pick<Activities, 'watchAlerts'>>({
  startToCloseTimeout: '2m',
  retry: { initialInterval: '5s', maximumAttempts: 3 },
})

/** Looks at what only shows after a while: codes that do not come back, and what people should hear of. */
export async function abuseWatch(): Promise<Awaited<ReturnType<typeof watchAbuse>>> {
  // Side by side: one that fails must not keep people from hearing of it.
  const [watched] = await Promise.all([watchAbuse(), watchAlerts()])
  return watched
}
