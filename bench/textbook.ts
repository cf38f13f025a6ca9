import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow'

/** Where its worker looks for work. */
export const textbookQueue = 'textbook'

export const delivered = defineSignal('delivered')

const { accept } = proxyActivities<{ accept: () => Promise<string> }>({
  startToCloseTimeout: '10s',
})

/** The least that a durable delivery needs: one activity, one signal (design.md section 8). It has no database. */
export async function textbook(): Promise<string> {
  let isDelivered = false
  setHandler(delivered, () => void (isDelivered = true))
  const message = await accept()
  await condition(() => isDelivered)
  return message
}
