import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { macMatches, macOfCode, normaliseCode } from '../../codes/code'
import type { Keyring } from '../../codes/keyring'
import { appIndexes } from '../../codes/seal'
import { alphabets } from '../../core/verify/alphabet'
import type { Channel, RecipientKind } from '../../core/channel'
import type { Rejection } from '../../core/error-code'
import { answerAfterEndSeconds } from '../../core/limits'
import { publishablePurpose } from '../../core/requests/page-request'
import type { State } from '../../core/requests/state'
import type { Wake } from '../../core/requests/wake'
import {
  giveBackDelegatedCheck,
  releaseDelegatedCheck,
  takeDelegatedCheck,
  type TakenCheck,
} from './delegated-checks'
import { type Decided, decideCheck } from './deciding'
import { requestOrPage } from '../requests/pages'
import type { Queries } from '..'
import type { Owner } from '../requests/owner'
import { type Named, statement } from '../statement'

export interface CheckInput extends Owner {
  /** A purpose given beside a request id must be the request's own. */
  by:
    | {
        /** Of a request, or of a page. */
        requestId: string
        purpose?: string | undefined
        /** It comes from a page: of a request that pages share, only the id that a page was given will do. */
        isPage?: boolean
      }
    | { kind: RecipientKind; value: string; purpose: string }
  /** As typed, blanks and hyphens removed. */
  code: string
  actor: string
  /** A challenge was solved for this very check: pauses and the limit of a day do not hold it back. */
  solvedChallenge?: boolean
  /** Asks the providers that made codes of their own, where the code is not ours; `silent` are those that gave no answer. */
  forward?: (check: TakenCheck) => Promise<boolean | { silent: string[] }>
}

/** `requestId` is the id that was given, where one was. */
export type CheckOutcome =
  | {
      outcome: 'verified'
      requestId: string
      /** The request itself, where `requestId` is a page's. */
      sharedId: string
      channel: Channel
      /** Of a test number: nobody was sent anything. */
      isTest: boolean
      wake?: Wake | undefined
    }
  | {
      outcome: 'rejected'
      errorCode: Rejection
      requestId?: string | undefined
      attemptsRemaining: number
      wake?: Wake | undefined
    }
  | { outcome: 'locked'; requestId: string }
  /** A provider that made the code gave no answer, or is just answering another check: its code has as many left. */
  | { outcome: 'unanswered'; requestId: string }
  | { outcome: 'busy'; requestId: string }
  /** The recipient's budget is used up; the code was not looked at. */
  | {
      outcome: 'held_back'
      requestId: string
      /** Until an operator unlocks it. */
      forGood: boolean
      /** A solved challenge lets the check through at once. */
      challengeHelps: boolean
      /** Until the budget takes a check again; where no challenge helps, one with a challenge. */
      retryAfterSeconds: number
    }

const CodeRow = z.strictObject({
  id: z.string(),
  pageId: z.string().nullable(),
  /** All checks of our code are used, those that a silent provider left open included. */
  isSpent: z.boolean(),
  codeMac: z.instanceof(Buffer).nullable(),
  codeKid: z.string(),
  codeGeneration: z.int(),
  codeAlphabet: z.enum(alphabets),
  /** Some provider made a code of its own for this request. */
  delegated: z.boolean(),
})

/**
 * Checks a code: one read, then one statement that decides, counts and audits. Touches Postgres only. It does much the
 * same for a code that is right, wrong, over or of nobody; the little that is left to tell them apart, the route hides.
 * Only where a provider made a code of its own, checks of it are one at a time, and that provider is asked in between
 * where the one given is not ours.
 * @throws {UnknownKey} when the code's key is not known here: never "wrong code".
 */
export async function checkCode(
  db: Queries,
  keyring: Keyring,
  input: CheckInput,
): Promise<CheckOutcome> {
  const row = await findCode(db, keyring, input)
  const typed = macOfCode(
    keyring,
    {
      requestId: row?.id ?? nobody,
      generation: row?.codeGeneration ?? 1,
      // A request that is over has nothing to compare with, and its key may be gone.
      kid: row?.codeMac ? row.codeKid : keyring.active('codes').kid,
    },
    normaliseCode(input.code, row?.codeAlphabet ?? 'digits'),
  )
  const ours = macMatches(typed, row?.codeMac ?? null) && row?.isSpent === false
  const { id = nobody, pageId: page = null, codeGeneration: generation = 1 } = row ?? {}
  const found = { id, page, generation }
  if (row?.delegated) return checkDelegated(db, found, ours, input)
  return decide(db, found, { ours }, input)
}

interface Found {
  id: string
  page: string | null
  generation: number
}

async function decide(
  db: Queries,
  found: Found,
  { ours = false, theirs = false }: { ours?: boolean; theirs?: boolean },
  { appId, environment, actor, solvedChallenge: solved = false }: CheckInput,
): Promise<CheckOutcome> {
  const decision = { ...found, ours, theirs, solved, appId, environment, actor }
  const decided = await db.one(decideCheck(decision))
  if (decided) return outcomeOf(decided, found.page ?? decided.requestId)
  return { outcome: 'rejected', errorCode: 'NO_ACTIVE_REQUEST', attemptsRemaining: 0 }
}

/** Counts, asks the providers that made codes where it is not ours, and decides by what they say. */
async function checkDelegated(
  db: Queries,
  found: Found,
  right: boolean,
  input: CheckInput,
): Promise<CheckOutcome> {
  const { actor, solvedChallenge = false, forward } = input
  const { id: requestId, page } = found
  const shownId = page ?? requestId
  const taken =
    forward && (await takeDelegatedCheck(db, { requestId, page, actor, right, solvedChallenge }))
  if (taken === 'busy') return { outcome: 'busy', requestId: shownId }
  if (!taken) return decide(db, found, { ours: right }, input)
  const giveBack = (silent: string[]) =>
    giveBackDelegatedCheck(db, { requestId, page, silent, actor })
  const answer =
    right ||
    (await forward(taken).catch(async (error: unknown) => {
      await giveBack(taken.codes.map(({ provider }) => provider))
      throw error
    }))
  if (typeof answer === 'object') {
    await giveBack(answer.silent)
    return { outcome: 'unanswered', requestId: shownId }
  }
  const outcome = await decide(db, found, { ours: right, theirs: !right && answer }, input)
  await releaseDelegatedCheck(db, requestId)
  return outcome
}

/** As long as a request id, and none. */
const nobody = `otp_${'0'.repeat(26)}`

const columns = sql`r.id, p.id as "pageId",
  coalesce(p.checks + p.unanswered, r.checks + r.unanswered) >= r.max_checks as "isSpent", r.code_mac as "codeMac",
  r.code_kid as "codeKid", r.code_generation as "codeGeneration", r.code_alphabet as "codeAlphabet",
  exists (select from delegated_codes d where d.request_id = r.id) as delegated`

const isOwn = (p: Named<Owner>) => sql`r.app_id = ${p.appId} and r.environment = ${p.environment}`

const findById = statement(
  'find_code',
  CodeRow,
  (p: Named<Owner & { requestId: string; purpose: string | null; isPage: boolean }>) => sql`
  select ${columns} from ${requestOrPage(p.requestId)}
  where ${isOwn(p)} and r.purpose = coalesce(${p.purpose}::text, r.purpose)
    and (not ${p.isPage}::boolean or p.id is not null or r.purpose <> ${publishablePurpose})`,
)

const findByRecipient = statement(
  'find_code_by_recipient',
  CodeRow,
  (p: Named<Owner & { kind: RecipientKind; indexes: Buffer[]; purpose: string }>) => sql`
  select ${columns} from recipients a join otp_requests r on r.recipient_id = a.id
    left join page_requests p on false
  where a.app_id = ${p.appId} and a.kind = ${p.kind} and a.index = any(${p.indexes}::bytea[])
    and ${isOwn(p)} and r.purpose = ${p.purpose}
    and (r.state = 'pending' or r.ended_at > now() - make_interval(secs => ${answerAfterEndSeconds}))
  order by (r.state = 'pending') desc, r.created_at desc limit 1`,
)

function findCode(db: Queries, keyring: Keyring, { by, appId, environment }: CheckInput) {
  if ('requestId' in by) {
    const { requestId, purpose = null, isPage = false } = by
    return db.one(findById({ requestId, purpose, isPage, appId, environment }))
  }
  const { kind, purpose } = by
  const indexes = appIndexes(keyring, { appId, ...by }).map(({ index }) => index)
  return db.one(findByRecipient({ kind, purpose, indexes, appId, environment }))
}

const refusalOf: Record<Exclude<State, 'locked'>, Rejection> = {
  // The deciding statement refused it although its time is not over: a code of another generation.
  pending: 'NO_ACTIVE_REQUEST',
  verified: 'ALREADY_USED',
  expired: 'EXPIRED',
  exhausted: 'EXPIRED',
  cancelled: 'NO_ACTIVE_REQUEST',
  failed: 'NO_ACTIVE_REQUEST',
}

function outcomeOf(decided: Decided, requestId: string): CheckOutcome {
  const { requestId: sharedId, state, shown, channel, isTest, open, counts, forGood } = decided
  const { remaining, dueAt, seconds, challengedSeconds } = decided
  if (open && !counts) {
    // Another check may have taken the last one after this statement's view of the budget.
    const challengeHelps = (challengedSeconds ?? 0) === 0
    const retryAfterSeconds = Math.max((challengeHelps ? seconds : challengedSeconds) ?? 0, 1)
    return { outcome: 'held_back', requestId, forGood, challengeHelps, retryAfterSeconds }
  }
  const wake: Wake | undefined =
    counts && dueAt && (state === 'verified' || state === 'locked')
      ? { requestId: sharedId, dueAt, signal: state }
      : undefined
  if (counts) {
    if (state === 'verified')
      return { outcome: 'verified', requestId, sharedId, channel, isTest, wake }
    const attemptsRemaining = remaining
    return { outcome: 'rejected', errorCode: 'INVALID_CODE', requestId, attemptsRemaining, wake }
  }
  if (shown === 'locked') return { outcome: 'locked', requestId }
  return { outcome: 'rejected', errorCode: refusalOf[shown], requestId, attemptsRemaining: 0 }
}
