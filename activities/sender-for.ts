import type { SendOrder } from '../core/requests/otp-request'
import { reserveNumber } from '../db/delivery/delegation'
import {
  type Message,
  type ProviderAccount,
  ProviderFault,
  type Sender,
} from '../providers/provider'
import { testNumberAccount } from '../providers/test-number'
import type { ActivityDeps } from './deps'

/** An account of this process, or the one that test numbers have everywhere. */
export const accountNamed = (
  { providers }: Pick<ActivityDeps, 'providers'>,
  name: string,
): ProviderAccount | undefined =>
  name === testNumberAccount.name ? testNumberAccount : providers.get(name)

/**
 * How an account gets a code to its recipient: by sending ours or, on the channels that the policy lists as delegated,
 * by making one itself.
 * @throws {ProviderFault} `unroutable` while another live request has a code of this account for the number
 */
export async function senderFor(
  { db, keyring }: ActivityDeps,
  { sender, delegated }: ProviderAccount,
  { channel }: SendOrder,
  { attemptId, to: phoneNumber }: Message,
): Promise<Sender> {
  if (!delegated?.channels.includes(channel)) return sender
  if (await reserveNumber(db, keyring, { attemptId, phoneNumber }))
    return { send: (message, signal) => delegated.generate(message, signal) }
  throw new ProviderFault(
    'unroutable',
    'Another live request has a code of this account for the number.',
  )
}
