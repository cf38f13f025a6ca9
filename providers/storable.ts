import { createHash } from 'node:crypto'
import {
  type Cost,
  type Message,
  type ProviderAccount,
  ProviderFault,
  type Receipt,
  type Sent,
} from './provider'

const maxIdLength = 200
const maxWordLength = 100
const maxKeyLength = 300

/**
 * Holds what an account reports to what Postgres can keep. A provider's answer that cannot be written down would
 * be taken for none, and the message sent a second time.
 */
export function storable(account: ProviderAccount): ProviderAccount {
  const { sender, receipts, calls, poller, reconciler, delegated } = account
  return {
    ...account,
    sender: {
      send: async (message, signal) =>
        storableSent(await storableFault(message, () => sender.send(message, signal)), message),
    },
    ...(receipts && {
      receipts: {
        unsigned: receipts.unsigned,
        provenAtAccount: receipts.provenAtAccount,
        signsAddress: receipts.signsAddress,
        readReceipts: (callback) => receipts.readReceipts(callback).map(storableReceipt),
      },
    }),
    ...(calls && {
      calls: {
        readCall: (callback) => {
          const call = calls.readCall(callback)
          return { ...call, receipts: call.receipts.map(storableReceipt) }
        },
        answerCall: (call, speech, callback) => calls.answerCall(call, speech, callback),
      },
    }),
    ...(poller && {
      poller: {
        pollReceipts: async (messages, signal) =>
          (await poller.pollReceipts(messages, signal)).map(storableReceipt),
      },
    }),
    ...(reconciler && {
      reconciler: {
        reconcile: async (doubt, signal) => {
          const sent = await reconciler.reconcile(doubt, signal)
          return sent && storableSent(sent, doubt)
        },
      },
    }),
    ...(delegated && {
      delegated: {
        channels: delegated.channels,
        generate: async (message, signal) =>
          storableSent(
            await storableFault(message, () => delegated.generate(message, signal)),
            message,
          ),
        checkCode: (check, signal) => delegated.checkCode(check, signal),
      },
    }),
  }
}

/** The fault's code is the provider's word too. */
async function storableFault<T>({ code: ours }: Message, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ProviderFault) {
      const code = storableCode(error.code)
      // A provider that hands back what it was given tells nothing by it.
      error.code = code === ours ? undefined : code
    }
    throw error
  }
}

/** Letters and at most six digits in a row: no phone number is one. */
const storableCode = (code: string | undefined): string | undefined =>
  code !== undefined && /^(?!.*\d{7})[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$/.test(code) ? code : undefined

const storableSent = (
  { providerMessageId, cost, instruction }: Sent,
  { attemptId }: Pick<Message, 'attemptId'>,
): Sent => ({
  providerMessageId: storableId(providerMessageId) ?? attemptId,
  cost: storableCost(cost),
  instruction: storableWords(instruction),
})

/** Shown to users: one short line. */
const storableWords = (words: string | undefined) =>
  words?.replace(/\p{Cc}+/gu, ' ').slice(0, maxWordLength) || undefined

const storableReceipt = ({ status, rawStatus, eventKey, ...more }: Receipt): Receipt => ({
  status,
  attemptId: storableId(more.attemptId),
  rawStatus: rawStatus.replace(/\p{Cc}/gu, '').slice(0, maxWordLength),
  // Two keys that differ must go on to differ, so a bad one is replaced and not cut.
  eventKey: isPlain(eventKey, maxKeyLength)
    ? eventKey
    : `sha256:${createHash('sha256').update(eventKey).digest('hex')}`,
  providerMessageId: storableId(more.providerMessageId),
  at: more.at && !Number.isNaN(more.at.getTime()) ? more.at : undefined,
  cost: storableCost(more.cost),
  ...(more.code !== undefined && { code: storableCode(more.code) }),
  ...(more.inferred && { inferred: true }),
})

const isPlain = (text: string, maxLength: number) =>
  text.length > 0 && text.length <= maxLength && !/\p{Cc}/u.test(text)

const storableId = (id: string | undefined) =>
  id !== undefined && isPlain(id, maxIdLength) ? id : undefined

const storableCost = (cost: Cost | undefined): Cost | undefined =>
  cost && /^\d{1,9}(\.\d{1,12})?$/.test(cost.amount) && /^[A-Z]{3}$/.test(cost.currency)
    ? cost
    : undefined
