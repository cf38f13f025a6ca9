import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker'
import { textbookQueue } from './textbook'

async function main(): Promise<void> {
  Runtime.install({
    logger: new DefaultLogger('WARN'),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
    shutdownSignals: ['SIGTERM', 'SIGINT'],
  })
  const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS })
  const worker = await Worker.create({
    connection,
    taskQueue: textbookQueue,
    workflowsPath: require.resolve('./textbook'),
    activities: { accept: () => Promise.resolve('accepted') },
    // As in the product's own worker.
    maxConcurrentActivityTaskExecutions: 200,
  })
  process.once('disconnect', () => worker.shutdown())
  process.send?.({ ready: true })
  await worker.run()
  await connection.close()
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  },
)
