import { assuranceOf } from '../../core/channel'
import type { Keyring } from '../../codes/keyring'
import { proofOf } from '../../codes/proof'
import { resendAfterSeconds } from '../../core/limits'
import {
  type AttemptView,
  type RequestStatus,
  type RequestSummary,
  readStatus,
  type StepView,
  versionOf,
} from '../../db/requests/status'
import { StatusAnswer, StatusQuery } from '../contract/status'
import { judgementOf } from '../decision-view'
import type { ApiDeps } from '../deps'
import { Problem } from '../problem'
import { route } from '../route'
import { ownerOf } from '../send-wish'
import { createWatch } from '../watch'

export const statusRoute = (deps: ApiDeps) => {
  const watch = createWatch()
  return route({
    method: 'get',
    path: '/otp/{request_id}',
    operationId: 'readOtp',
    tag: 'OTP',
    summary: 'Read a request: state, steps, attempts, events',
    description:
      'With wait, answers as soon as something new happened, or at once when the request is over or too many calls wait already.',
    scope: 'read',
    query: StatusQuery,
    replies: { 200: { description: 'The request as it is now.', content: StatusAnswer } },
    async handle({ key, params: { request_id: requestId = '' }, query, signal }) {
      const read = () => readStatus(deps.db, deps.keyring, { ...ownerOf(key), requestId })
      const first = await read()
      if (!first) throw new Problem('NOT_FOUND')
      if (query.wait === undefined || first.state !== 'pending')
        return { body: answerOf(first, deps) }
      const since = query.since ?? first.version
      const patience = { seconds: query.wait, signal: AbortSignal.any([signal, deps.draining]) }
      const isNews = async () => {
        const seen = await versionOf(deps.db, first.requestId)
        return seen && (seen.final || seen.version > since) ? true : undefined
      }
      if (first.version <= since) await watch(isNews, patience)
      const now = signal.aborted ? first : ((await read()) ?? first)
      return { body: answerOf(now, deps) }
    },
  })
}

const timeOf = (at: Date | null): string | null => at?.toISOString() ?? null

/** What every view of a request shows. */
export const summaryOf = (
  { pageId = null, verifiedPageId, ...request }: RequestSummary & { pageId?: string | null },
  keyring: Keyring,
) => ({
  request_id: pageId ?? request.requestId,
  ...(pageId !== null && { shared_request_id: request.requestId }),
  ...(pageId === null && verifiedPageId !== null && { page_request_id: verifiedPageId }),
  state: request.state,
  reason: request.reason,
  channel: request.channel,
  assurance: assuranceOf(request),
  ...(request.isTest && { test: true as const }),
  purpose: request.purpose,
  created_at: request.createdAt.toISOString(),
  expires_at: request.expiresAt.toISOString(),
  ended_at: timeOf(request.endedAt),
  delivered_at: timeOf(request.deliveredAt),
  ...(request.state === 'verified' && {
    proof: proofOf(keyring, verifiedPageId ?? request.requestId),
  }),
})

const allChannelsFailed = {
  error_code: 'ALL_CHANNELS_FAILED',
  message:
    'No channel reached the recipient. A code that still arrives is valid until the request ends.',
  action: 'contact_support',
} as const

function answerOf(request: RequestStatus, { keyring, workflowsUrl }: ApiDeps): StatusAnswer {
  return {
    ...summaryOf(request, keyring),
    version: request.version,
    checks: { used: request.checks, max: request.maxChecks },
    resend_after: resendAfterSeconds(request.sends),
    ...(request.state === 'pending' && instructionIn(request)),
    ...(request.allChannelsFailed && request.state !== 'verified' && allChannelsFailed),
    ...(request.decision && { protection: judgementOf(request.decision) }),
    ...(request.metadata && { metadata: request.metadata }),
    steps: request.steps.map(stepOf),
    events: request.events.map(({ at, ...event }) => ({ ...event, at: at.toISOString() })),
    ...(workflowsUrl && {
      temporal_ui_url: [workflowsUrl, request.requestId, request.runId].filter(Boolean).join('/'),
    }),
  }
}

const instructionIn = ({ instruction }: { instruction: string | null }) =>
  instruction === null ? {} : { instruction }

const stepOf = ({ channel, status, success, timeoutMs, attempts, ...step }: StepView) => ({
  channel,
  status,
  success_rule: success,
  timeout_seconds: timeoutMs / 1_000,
  ...instructionIn(step),
  attempts: attempts.map(attemptOf),
})

const attemptOf = (attempt: AttemptView) => ({
  attempt_id: attempt.attemptId,
  provider: attempt.provider,
  channel: attempt.channel,
  status: attempt.status ?? attempt.state,
  fault: attempt.fault,
  in_doubt: attempt.state === 'in_doubt',
  delegated: attempt.delegated,
  wasted: attempt.wasted,
  claimed_at: attempt.claimedAt.toISOString(),
  finished_at: timeOf(attempt.finishedAt),
  delivered_at: timeOf(attempt.deliveredAt),
  cost: attempt.cost,
  ...instructionIn(attempt),
})
