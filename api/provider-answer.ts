import type { z } from 'zod'
import type { Fault } from '../core/delivery/fault'
import { firstAnswer } from '../db/requests/status'
import type { ProviderAnswer } from './contract/send'
import type { ApiDeps } from './deps'
import { watch } from './watch'

/** The faults that are about the recipient; callers can act on these only. */
const codeOf: Partial<Record<Fault, 'INVALID_NUMBER' | 'BLOCKED'>> = {
  invalid_number: 'INVALID_NUMBER',
  blocked: 'BLOCKED',
}

/** Waits until a provider has answered for this request; undefined when none does in time. */
export async function readProviderAnswer(
  { db }: Pick<ApiDeps, 'db'>,
  requestId: string,
  patience: { seconds: number; signal: AbortSignal },
): Promise<z.infer<typeof ProviderAnswer> | undefined> {
  const answer = await watch(() => firstAnswer(db, requestId), patience)
  if (!answer) return undefined
  const { state, provider, fault } = answer
  if (state !== 'refused') return { status: 'accepted', provider }
  const code = fault === null ? undefined : codeOf[fault]
  return { status: 'refused', provider, ...(code && { error_code: code }) }
}
