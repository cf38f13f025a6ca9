import { createHash } from 'node:crypto'
import type { Cost, Message, ProviderAccount, Receipt, Sent } from './provider'

const maxIdLength = 200
const maxWordLength = 100
const maxKeyLength = 300

/**
 * Holds what an account reports to what Postgres can keep. A provider's answer that cannot be written down would
 * be taken for none, and the message sent a second time.
 */
export function storable(account: ProviderAccount): ProviderAccount {
  const { sender, receipts } = account
  return {
    ...account,
    sender: {
      send: async (message, signal) => storableSent(await sender.send(message, signal), message),
    },
    ...(receipts && {
      receipts: {
        readReceipts: (callback) => receipts.readReceipts(callback).map(storableReceipt),
      },
    }),
  }
}

const storableSent = ({ providerMessageId, cost }: Sent, { attemptId }: Message): Sent => ({
  providerMessageId: storableId(providerMessageId) ?? attemptId,
  cost: storableCost(cost),
})

const storableReceipt = ({ status, rawStatus, eventKey, ...more }: Receipt): Receipt => ({
  status,
  rawStatus: rawStatus.replace(/\p{Cc}/gu, '').slice(0, maxWordLength),
  // Two keys that differ must go on to differ, so a bad one is replaced and not cut.
  eventKey: isPlain(eventKey, maxKeyLength)
    ? eventKey
    : `sha256:${createHash('sha256').update(eventKey).digest('hex')}`,
  providerMessageId: storableId(more.providerMessageId),
  at: more.at && !Number.isNaN(more.at.getTime()) ? more.at : undefined,
  cost: storableCost(more.cost),
})

const isPlain = (text: string, maxLength: number) =>
  text.length > 0 && text.length <= maxLength && !/\p{Cc}/u.test(text)

const storableId = (id: string | undefined) =>
  id !== undefined && isPlain(id, maxIdLength) ? id : undefined

const storableCost = (cost: Cost | undefined): Cost | undefined =>
  cost && /^\d{1,9}(\.\d{1,6})?$/.test(cost.amount) && /^[A-Z]{3}$/.test(cost.currency)
    ? cost
    : undefined
