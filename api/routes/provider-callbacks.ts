import { recordByMessage } from '../../db/delivery/early-receipts'
import { pollSoon } from '../../db/delivery/polling'
import {
  findAttemptById,
  findAttemptByMessage,
  findAttemptByToken,
  noteRefusedAccountCallback,
  noteRefusedCallback,
  type ReportedAttempt,
} from '../../db/delivery/receipts'
import type {
  CallbackHead,
  InboundCallback,
  ProviderAccount,
  Receipt,
} from '../../providers/provider'
import { ReceivedAnswer } from '../contract/receipt'
import { type ApiDeps, logBreaker, wakeRuns } from '../deps'
import { Problem } from '../problem'
import { type Call, type Route, route } from '../route'
import { takeInbound } from '../take-inbound'
import { authentic, record } from './receipts'

interface Place {
  path: string
  method?: 'GET' | 'POST'
}

/** A callback without its body as adapters read it: with the address that we gave out, whatever Host says. */
const headOf = (
  { publicUrl }: Pick<ApiDeps, 'publicUrl'>,
  { headers, search, client, params: { secret } }: Call,
  { path, method = 'POST' }: Place,
): CallbackHead => ({
  method,
  headers,
  url: `${publicUrl}${path}${search}`,
  pathSecret: secret,
  clientIp: client.address,
})

/** The same with its body: only of a provider and an address that there are, since it is read here. */
export const callbackOf = async (
  deps: Pick<ApiDeps, 'publicUrl'>,
  call: Call,
  { maxBytes, ...place }: Place & { maxBytes?: number },
): Promise<InboundCallback> => ({
  ...headOf(deps, call, place),
  body: (await call.readBody?.(maxBytes)) ?? call.raw,
})

/**
 * Refuses what address and headers show to be forged, before its body is read.
 * @throws {Problem} INVALID_SIGNATURE, which is noted
 */
export async function checkHead(
  deps: ApiDeps,
  call: Call,
  { provider, ...place }: Place & { provider: string },
): Promise<void> {
  const account = deps.routing.accounts.get(provider)
  await authenticOr(
    () => account?.checkHead?.(headOf(deps, call, place)),
    () => noteRefusedAccountCallback(deps.db, provider),
  )
}

/** As {@link authentic}; a refusal is noted before it is answered. */
export async function authenticOr<T>(read: () => T, note: () => Promise<void>): Promise<T> {
  try {
    return authentic(read)
  } catch (error) {
    if (error instanceof Problem) await note()
    throw error
  }
}

/** A batch of a hundred reports at Infobip, of a thousand at Meta, each of some hundred bytes. */
export const maxBatchBytes = 1024 * 1024
/** Of one batch, as many connections to Postgres: sends need some too. */
const lanes = 4

/** A provider's callbacks, as its adapter reads them; none of them asks for a key of ours. */
const callback = {
  tag: 'Callbacks',
  scope: null,
  rawBody: true,
  maxBodyBytes: maxBatchBytes,
  replies: { 200: { description: 'Recorded.', content: ReceivedAnswer } },
  errors: ['INVALID_SIGNATURE'],
} as const

/** Of one message, at the address that was given to the provider with it; some providers call it by GET. */
export const messageCallbackRoutes = (deps: ApiDeps): Route[] =>
  (['post', 'get'] as const).map((method) =>
    route({
      ...callback,
      method,
      path: '/webhooks/{provider}/{token}',
      operationId: method === 'post' ? 'providerReceipt' : 'providerReceiptByGet',
      summary: 'A provider’s own callback',
      description:
        'Authenticated as that provider does it; the address was given to the provider with the message.',
      async handle(call: Call) {
        const { provider = '', token = '' } = call.params
        const account = deps.routing.accounts.get(provider)
        if (!account?.receipts) throw new Problem('NOT_FOUND')
        const attempt = await findAttemptByToken(deps.db, deps.keyring, { provider, token })
        const { receipts } = account
        const place = {
          path: `/webhooks/${provider}/${token}`,
          method: method === 'get' ? 'GET' : 'POST',
        } as const
        if (!attempt) throw await refusalOf(deps, call, { provider, ...place })
        const inbound = await callbackOf(deps, call, place)
        const reports = await authenticOr(
          () => receipts.readReceipts(inbound),
          () => noteRefusedCallback(deps.db, attempt),
        )
        if (receipts.unsigned && reports.length > 0) await pollSoon(deps.db, attempt)
        else await recordReports(deps, { provider, attempt, reports })
        return { body: { received: true } }
      },
    }),
  )

/** Of a callback at an address that is none, so much is read. */
const maxStrayBytes = 16 * 1024

/**
 * Of a callback at an address that is none. It is forged, unless it is signed for just that address: then it is about a
 * message that is kept no more.
 */
export async function refusalOf(
  deps: ApiDeps,
  call: Call,
  { provider, ...place }: Place & { provider: string },
): Promise<Problem> {
  const { receipts } = deps.routing.accounts.get(provider) ?? {}
  const note = () => noteRefusedAccountCallback(deps.db, provider)
  if (receipts?.signsAddress) {
    const inbound = await callbackOf(deps, call, { ...place, maxBytes: maxStrayBytes })
    await authenticOr(() => receipts.readReceipts(inbound), note)
    return new Problem('NOT_FOUND')
  }
  await note()
  return new Problem('INVALID_SIGNATURE')
}

const ofAccount =
  'For providers that take one address per account: authenticated as that provider does it, matched by the provider’s message id or by our own reference. A report that comes before the answer to its send waits for it, up to 24 hours.'

/** Of all messages of an account: signed, or at an address with a secret in it. */
export const accountCallbackRoutes = (deps: ApiDeps): Route[] => {
  const handle = (pathOf: (provider: string, secret: string) => string) => async (call: Call) => {
    const { provider = '', secret = '' } = call.params
    const account = deps.routing.accounts.get(provider)
    if (!account?.receipts) throw new Problem('NOT_FOUND')
    const { receipts } = account
    const place = { path: pathOf(provider, secret) }
    if (receipts.unsigned && !receipts.provenAtAccount)
      throw await refusalOf(deps, call, { provider, ...place })
    await checkHead(deps, call, { provider, ...place })
    const inbound = await callbackOf(deps, call, place)
    const reports = await authenticOr(
      () => receipts.readReceipts(inbound),
      () => noteRefusedAccountCallback(deps.db, provider),
    )
    await recordReports(deps, { provider, reports })
    if (account.inbound?.atAccount)
      await takeInbound(deps, account, account.inbound.readInbound(inbound))
    return { body: { received: true } }
  }
  return [
    route({
      ...callback,
      method: 'post',
      path: '/webhooks/{provider}',
      operationId: 'accountReceipt',
      summary: 'A provider’s callback for all messages of an account',
      description: ofAccount,
      handle: handle((provider) => `/webhooks/${provider}`),
    }),
    route({
      ...callback,
      method: 'post',
      path: '/webhooks/{provider}/secret/{secret}',
      operationId: 'accountReceiptBySecret',
      summary: 'The same, for providers that sign nothing',
      description: `${ofAccount} The secret in the address is the account’s CALLBACK_SECRET.`,
      handle: handle((provider, secret) => `/webhooks/${provider}/secret/${secret}`),
    }),
    handshakeRoute(deps),
  ]
}

const handshakeRoute = (deps: ApiDeps) =>
  route({
    ...callback,
    method: 'get',
    path: '/webhooks/{provider}',
    operationId: 'accountHandshake',
    summary: 'Proves to a provider that the callback address is ours',
    replies: { 200: { description: 'The provider’s challenge.', content: '*/*' } },
    async handle(call: Call) {
      const { provider = '' } = call.params
      const { handshake } = deps.routing.accounts.get(provider) ?? {}
      if (!handshake) throw new Problem('NOT_FOUND')
      const place = { path: `/webhooks/${provider}`, method: 'GET' } as const
      const inbound = await callbackOf(deps, call, place)
      return authenticOr(
        () => handshake.answerHandshake(inbound),
        () => noteRefusedAccountCallback(deps.db, provider),
      )
    },
  })

interface Reports {
  provider: ProviderAccount['name']
  /** Whose address was called. */
  attempt?: ReportedAttempt | undefined
  reports: readonly Receipt[]
}

/**
 * Records the reports of one callback: several messages' at a time, since providers wait only some seconds for their
 * answer, and each message's in the order given. After a failure the provider repeats all of them, which does no harm.
 */
export async function recordReports(
  deps: ApiDeps,
  { provider, attempt, reports }: Reports,
): Promise<void> {
  const ofMessages = Map.groupBy(
    reports,
    ({ attemptId, providerMessageId }) => attemptId ?? providerMessageId,
  )
  const waiting = ofMessages.values()
  const lane = async () => {
    for (const ofMessage of waiting)
      for (const report of ofMessage) await recordReport(deps, { provider, attempt, report })
  }
  await Promise.all(Array.from({ length: Math.min(lanes, ofMessages.size) }, lane))
}

interface Report {
  provider: ProviderAccount['name']
  /** Whose address was called. */
  attempt?: ReportedAttempt | undefined
  report: Receipt
}

/**
 * Whether a signed report can be about the message whose address it came to. Where the address is not signed with it,
 * the body may be that of another message, sent on by somebody who knows both. A message whose id is not known, since
 * its provider has not answered yet or named none, is told from others by theirs.
 */
export async function isOfAddress(
  { db, routing }: Pick<ApiDeps, 'db' | 'routing'>,
  { id, provider, messageId }: ReportedAttempt,
  reported: string | undefined,
): Promise<boolean> {
  if (reported === undefined || messageId === reported) return true
  if (routing.accounts.get(provider)?.receipts?.signsAddress === true) return true
  // Its provider named none: ours stands in its place.
  const isNamed = messageId != null && messageId !== id
  if (isNamed) return false
  const known = await findAttemptByMessage(db, { provider, messageId: reported })
  return known === undefined || known.id === id
}

/** Records one proven report on the attempt that it is about: it says itself which, else the address does. */
async function recordReport(
  deps: ApiDeps,
  { provider, attempt: addressed, report }: Report,
): Promise<void> {
  const { attemptId, providerMessageId: messageId, ...receipt } = report
  const isHere =
    attemptId === undefined
      ? addressed !== undefined && (await isOfAddress(deps, addressed, messageId))
      : attemptId === addressed?.id
  const named = isHere || attemptId === undefined ? undefined : { provider, attemptId }
  const attempt = isHere ? addressed : named && (await findAttemptById(deps.db, named))
  if (attempt) return record(deps, attempt, receipt)
  if (messageId === undefined) return
  const actor = `provider:${provider}`
  const recorded = await recordByMessage(deps.db, {
    message: { provider, messageId },
    receipt,
    actor,
  })
  logBreaker(deps, recorded, provider)
  wakeRuns(deps, [recorded.wake])
}
