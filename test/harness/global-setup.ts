import { startSharedServices } from './shared-services'

/** Jest leaves without its teardown on Ctrl-C, so the servers are stopped from here in that case. */
export default async function globalSetup(): Promise<void> {
  const stop = await startSharedServices()
  globalThis.stopSharedServices = stop
  let stopping = false
  // A terminal, npm and the bootstrap each pass the same Ctrl-C on: the first one counts.
  const leave = () => {
    if (!stopping) void stop().finally(() => process.exit(130))
    stopping = true
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave)
}

declare global {
  var stopSharedServices: (() => Promise<void>) | undefined
}
