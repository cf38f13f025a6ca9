import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { codeFrom, type CodeSource, lengthOf, macOfCode, makeSalt } from '../../codes/code'
import type { Keyring } from '../../codes/keyring'
import { seal, sealedIn } from '../../codes/seal'
import type { MessageGuard } from '../../core/protection/message-guard'
import type { RequestMoney } from '../../core/spending/money'
import { reachesNobody } from '../../core/protection/number'
import type { Alphabet } from '../../core/verify/alphabet'
import type { RecipientKind } from '../../core/channel'
import { maxChecks } from '../../core/limits'
import type { OtpRequestInput } from '../../core/requests/otp-request'
import type { Plan, Step } from '../../core/requests/plan'
import type { Risk } from '../../core/protection/risk'
import {
  type DialStrings,
  openWindowFrom,
  placeInPlan,
  type WindowParams,
  windowParams,
} from '../ussd/windows'
import { auditFrom } from '../audit/entry'
import type { Queries } from '../index'
import { type Named, statement } from '../statement'
import type { Consent } from '../recipients/consent'
import type { IdempotencyKey } from './idempotency'
import type { Owner } from './owner'
import type { GuardedSend } from '../protection/guard'
import type { Limited, SendLimits } from '../protection/limits'
import type { Shortage } from '../spending/spending'

/** What the fraud rules need to know beside the request itself. */
export type SendProtection = Pick<
  GuardedSend,
  'mode' | 'rules' | 'isTrusted' | 'isSolved' | 'ip' | 'keys' | 'signals'
> & {
  limits: SendLimits
  /** With a publishable key: anybody may have asked for it. */
  isPublic?: boolean | undefined
  /** Why it was refused a moment ago, so that nobody was asked about it: it gets no room that came since. */
  refused?: Refusal | undefined
}

/** That a limit, or a budget, has no room for a send. */
export type Refusal =
  ({ outcome: 'rate_limited' } & Limited) | ({ outcome: 'over_budget' } & Shortage)

export interface SendInput extends Owner {
  /** Of the request that this send may make. */
  requestId: string
  /** What the page that sends it gets as the request's id; absent for back ends. */
  pageId?: string | undefined
  /** The API key's public id, for the audit row. */
  keyId: string
  recipient: { kind: RecipientKind; value: string }
  country: string | null
  purpose: string
  locale: string
  brand: string
  risk: Risk
  lifetimeSeconds: number
  codes: CodeSource
  codeAlphabet: Alphabet
  /** The caller's template, checked before. */
  message?: string | undefined
  metadata?: Record<string, string> | undefined
  ip?: string | undefined
  consent?: Consent | undefined
  plan: Plan
  /** How to repeat on a channel that the caller named and the live plan may lack. */
  explicitStep?: Step | undefined
  idempotency?: IdempotencyKey | undefined
  /** What its messages cost, and what its app may spend; absent: nobody knows. */
  money?: RequestMoney | undefined
  /** How it is protected. */
  protection: SendProtection
  /** Where codes can be dialled for; nowhere when absent. */
  dialStrings?: DialStrings | undefined
}

/** What the run of a request needs to be started; also what the sweeper starts it with. */
export interface Startable {
  input: OtpRequestInput
  appId: string
  country: string | null
  queued: boolean
}

interface NewRow {
  requestId: string
  recipientId: string
  /** When its first send was taken, as Postgres writes it. */
  at: string
  guard: MessageGuard | null
}

interface NewParams extends Owner {
  requestId: string
  recipientId: string
  purpose: string
  risk: Risk
  country: string | null
  locale: string
  brand: string
  /** The caller's texts, sealed under `kid`. */
  message: Buffer | null
  metadata: Buffer | null
  kid: string | null
  /** JSON, as `money`, `guard` and `detail` are. */
  plan: string
  salt: Buffer
  mac: Buffer
  codeKid: string
  codeLength: number
  codeAlphabet: Alphabet
  at: string
  lifetimeSeconds: number
  money: string | null
  guard: string | null
  isTest: boolean
  actor: string
  /** Of the audit row. */
  detail: string
  ip: string | null
}

/** @param also further CTEs */
const creating = (p: Named<NewParams>, also = sql``): SQL => sql`
  with made as (
    insert into otp_requests (id, app_id, recipient_id, purpose, environment, risk, country, locale, brand,
      message_ciphertext, metadata_ciphertext, seal_kid, plan, code_salt, code_mac, code_kid, code_length,
      code_alphabet, max_checks, audit_seq, created_at, expires_at, money, guard, test_number,
      template_revision, autofill_domain, android_app_hash)
    select ${p.requestId}, ${p.appId}, ${p.recipientId}, ${p.purpose}, ${p.environment}, ${p.risk},
      ${p.country}, ${p.locale}, ${p.brand}, ${p.message}, ${p.metadata}, ${p.kid},
      ${p.plan}::jsonb, ${p.salt}, ${p.mac}, ${p.codeKid}, ${p.codeLength}, ${p.codeAlphabet}, ${maxChecks}, 1,
      ${p.at}::timestamptz, ${p.at}::timestamptz + make_interval(secs => ${p.lifetimeSeconds}),
      ${p.money}::jsonb, ${p.guard}::jsonb, ${p.isTest},
      apps.template_revision, apps.autofill_domain, apps.android_app_hash
    from apps where apps.id = ${p.appId}
    returning id, app_id, audit_seq, expires_at
  ), logged as (${auditFrom(sql`made`, {
    type: 'requested',
    actor: p.actor,
    detail: sql`${p.detail}::jsonb`,
  })}), context as (
    insert into request_contexts (request_id, ip)
    select id, ${p.ip}::inet from made where ${p.ip}::inet is not null
  ) ${also}
  select expires_at as "expiresAt" from made`

const CreatedRow = z.strictObject({ expiresAt: z.date() })

const createStatement = statement('create_request', CreatedRow, (p: Named<NewParams>) =>
  creating(p),
)

const createDialable = statement(
  'create_dialable_request',
  CreatedRow,
  (p: Named<NewParams & WindowParams>) =>
    creating(p, sql`, dialable as (${openWindowFrom(sql`made`, p)})`),
)

/** Writes the row of a request that begins; its code can be dialled for from now on, where the plan has such a step. */
export async function createRequest(
  tx: Queries,
  keyring: Keyring,
  input: SendInput,
  { requestId, recipientId, at, guard }: NewRow,
) {
  const { seed, mac } = makeCode(keyring, input, requestId)
  const { message, metadata, kid } = sealTexts(keyring, requestId, input)
  const place = placeInPlan(input.plan, input.dialStrings)
  const first = input.plan[0]
  if (!first) throw new Error('A request needs at least one step.')
  const made: NewParams = {
    ...{ requestId, recipientId, at, message, metadata, kid, mac },
    ...{ appId: input.appId, purpose: input.purpose, environment: input.environment },
    ...{ risk: input.risk, country: input.country, locale: input.locale, brand: input.brand },
    ...{ salt: seed.salt, codeKid: seed.kid, codeLength: seed.length },
    ...{ codeAlphabet: input.codeAlphabet, lifetimeSeconds: input.lifetimeSeconds },
    plan: JSON.stringify(input.plan),
    money: input.money ? JSON.stringify(input.money) : null,
    guard: guard && JSON.stringify(guard),
    isTest: reachesNobody(input.plan),
    actor: `key:${input.keyId}`,
    detail: JSON.stringify(requestedDetail(input, first.channel)),
    ip: input.ip ?? null,
  }
  const row = await tx.one(
    place
      ? createDialable({ ...made, ...windowParams(keyring, input.recipient.value, place) })
      : createStatement(made),
  )
  if (!row) throw new Error('Postgres returned no row for a new request.')
  const { plan, country } = input
  return {
    ...startable(input.appId, { requestId, plan, country, queued: false, ...row }),
    outcome: 'created' as const,
    requestId,
    channel: first.channel,
    instruction: place?.serviceCode ?? null,
    expiresAt: row.expiresAt,
    sends: 1,
    needsStart: true,
    ended: false,
  }
}

/** The seed of a new code, and the digest that typed ones are held against. */
function makeCode(keyring: Keyring, input: SendInput, requestId: string) {
  const seed = {
    requestId,
    generation: 1,
    kid: keyring.active('codes').kid,
    salt: makeSalt(),
    length: lengthOf(input.codes),
    alphabet: input.codeAlphabet,
  }
  const code = codeFrom(input.codes, keyring, seed)
  return { seed, mac: macOfCode(keyring, seed, code) }
}

/** What the audit says of a request that begins. */
const requestedDetail = ({ purpose, country, plan }: SendInput, channel: string) => ({
  channel,
  purpose,
  country,
  ...(reachesNobody(plan) && { test_number: true }),
})

/** What the caller wrote, under one key. */
function sealTexts(keyring: Keyring, requestId: string, { message, metadata }: SendInput) {
  const text = message ? seal(keyring, message, sealedIn.message(requestId)) : null
  const pairs = metadata
    ? seal(keyring, JSON.stringify(metadata), sealedIn.metadata(requestId))
    : null
  return {
    message: text?.ciphertext ?? null,
    metadata: pairs?.ciphertext ?? null,
    kid: text?.kid ?? pairs?.kid ?? null,
  }
}

/** What its run is started with. */
export function startable(
  appId: string,
  row: {
    requestId: string
    plan: Plan
    country: string | null
    expiresAt: Date
    queued: boolean
  },
): Startable {
  const input = { requestId: row.requestId, steps: row.plan, expiresAt: row.expiresAt.getTime() }
  return { input, appId, country: row.country, queued: row.queued }
}
