/**
 * Loaded before a program that is started with --expose-gc: answers any message of its parent with the bytes that its
 * process keeps after a garbage collection. Resident memory is no measure of that: it holds what was freed, too.
 */
process.on('message', () => {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  process.send?.({ keptBytes: heapUsed + external })
})
// The listener alone would keep a program from ending by itself.
process.channel?.unref()
