import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Keyring } from '../../codes/keyring'
import type { RecipientKind } from '../../core/channel'
import { type Environment, environments } from '../../core/requests/state'
import type { Wake } from '../../core/requests/wake'
import { auditAdmin, auditFrom } from '../audit/entry'
import { setState } from '../requests/ending'
import {
  type Addressee,
  type HeldRecipient,
  holdRecipients,
  spellingsOfAddress,
} from './held-recipients'
import { type Database, despiteLocks, type Queries } from '../index'
import { isNewMessage } from './inbound-messages'
import { findOrAddRecipient } from './recipients'
import { type Named, NoRow, statement } from '../statement'

/** What a recipient agreed to: the evidence that a controller keeps (GDPR art. 7(1)). */
export interface Consent {
  /** Which wording was agreed to. */
  textVersion: string
  /** Undefined: nobody said when. It counts as given by this send, and lifts no withdrawal. */
  givenAt?: Date | undefined
  /** Where: a page, a form, a call. */
  source?: string | undefined
  /** The legal basis, in the words of GDPR art. 6(1). */
  basis?: string | undefined
}

/** A record from a clock further ahead than this is none. */
const clockTolerance = sql`interval '5 minutes'`

/** What stands between a send and its recipient: a withdrawal, or one that this send's consent lifts. */
export const withdrawals = ['stands', 'lifted'] as const

/** A send's recipient, under every spelling of its number, with the consent that the send carries. */
export interface SubscriberKey {
  recipientIds: readonly string[]
  environment: Environment
  consent?: Consent | undefined
}

/** The same for a statement. */
export interface SubscriberParams {
  recipientIds: string[]
  environment: Environment
  consentAt: Date | null
}

export const subscriberParams = ({
  recipientIds,
  environment,
  consent,
}: SubscriberKey): SubscriberParams => ({
  recipientIds: [...recipientIds],
  environment,
  consentAt: consent?.givenAt ?? null,
})

const isOptedOut = (p: Named<SubscriberParams>): SQL =>
  sql`recipient_id = any(${p.recipientIds}::text[]) and environment = ${p.environment} and lifted_at is null`

/**
 * That, as a value (null: nothing) for a statement of a send. It must come after the one that holds the recipient: no
 * withdrawal commits from there on, and this one sees those before.
 */
export const withdrawalIn = (p: Named<SubscriberParams>): SQL => sql`(
  select case when bool_and(${p.consentAt}::timestamptz between at and now() + ${clockTolerance})
    then 'lifted' else 'stands' end
  from opt_outs where ${isOptedOut(p)} having count(*) > 0)`

const liftStatement = statement(
  'lift_withdrawal',
  NoRow,
  (p: Named<SubscriberParams>) =>
    sql`update opt_outs set lifted_at = ${p.consentAt}::timestamptz where ${isOptedOut(p)}`,
)

/** Consent that was given after a withdrawal ends it; the row stays, so that the same STOP ends nothing once more. */
export async function liftWithdrawal(tx: Queries, subscriber: SubscriberKey): Promise<void> {
  await tx.many(liftStatement(subscriberParams(subscriber)))
}

interface Saying {
  recipientIds: string[]
  environments: Environment[]
  source: string
  /** Null: now, whatever was said before. */
  at: Date | null
}

const optOutStatement = statement(
  'opt_out',
  z.strictObject({ recipientId: z.string(), environment: z.enum(environments) }),
  (p: Named<Saying>) => sql`
  insert into opt_outs as o (recipient_id, environment, source, at)
  select id, environment, ${p.source},
    case when ${p.at}::timestamptz is null then clock_timestamp()
      else least(${p.at}::timestamptz, clock_timestamp() + ${clockTolerance}) end
  from unnest(${p.recipientIds}::text[]) id,
    unnest(${p.environments}::text[]::key_environment[]) environment
  on conflict (recipient_id, environment)
    do update set source = excluded.source, at = excluded.at, lifted_at = null
    where ${p.at}::timestamptz is null or greatest(o.at, o.lifted_at) < excluded.at
  returning recipient_id as "recipientId", environment`,
)

const cancelStatement = statement(
  'cancel_opted_out',
  z.strictObject({ requestId: z.string(), appId: z.string(), dueAt: z.date().nullable() }),
  // As many environments as recipients.
  (p: Named<Pick<Saying, 'recipientIds' | 'environments'> & { actor: string }>) => sql`
  with ended as (
    update otp_requests set ${setState('cancelled', 'requested')}
    where (recipient_id, environment) in (
        select * from unnest(${p.recipientIds}::text[], ${p.environments}::text[]::key_environment[]))
      and state = 'pending' and expires_at > now()
    returning id, app_id, audit_seq, signal_due_at
  ), logged as (${auditFrom(sql`ended`, {
    type: 'cancelled',
    actor: p.actor,
    detail: { reason: 'requested', cause: 'consent_withdrawn' },
  })})
  select id as "requestId", app_id as "appId", signal_due_at as "dueAt" from ended`,
)

const keepStatement = statement(
  'keep_consent',
  NoRow,
  (p: Named<{ requestId: string; actor: string; basis: string; record: string }>) => sql`
  with noted as (
    update otp_requests set audit_seq = audit_seq + 1 where id = ${p.requestId} returning id, app_id, audit_seq
  ), kept as (
    insert into request_contexts (request_id, consent) select id, ${p.record}::jsonb from noted
    on conflict (request_id) do update set consent = excluded.consent
  ) ${auditFrom(sql`noted`, {
    type: 'consent_given',
    actor: p.actor,
    detail: sql`jsonb_build_object('basis', ${p.basis}::text)`,
  })}`,
)

/** Keeps the consent that a send carries, if it does, beside its request and apart from what stays after an erasure. */
export async function keepConsent(
  tx: Queries,
  requestId: string,
  { consent, keyId }: { consent?: Consent | undefined; keyId: string },
): Promise<void> {
  if (!consent) return
  const { textVersion, givenAt = new Date(), source, basis } = consent
  const record = { text_version: textVersion, given_at: givenAt.toISOString(), source, basis }
  await tx.many(
    keepStatement({
      ...{ requestId, actor: `key:${keyId}`, basis: basis ?? 'consent' },
      record: JSON.stringify(record),
    }),
  )
}

export interface Withdrawn {
  /** Live requests that it ended. */
  cancelled: number
  /** To be sent after the commit. */
  wakes: Wake[]
}

/** Writes down that a recipient wants nothing more of an app, and stops what is on its way. */
export async function withdrawConsent(
  db: Database,
  keyring: Keyring,
  {
    appId,
    environment,
    actor,
    ...address
  }: { appId: string; environment: Environment; actor: string; kind: RecipientKind; value: string },
): Promise<Withdrawn> {
  for (let tries = 0; tries < maxErasuresMet; tries++) {
    // Somebody whom the app is still to meet can say no, too. On its own: two who share the row cannot both hold it.
    for (const value of spellingsOfAddress(address))
      await findOrAddRecipient(db, keyring, { appId, ...address, value })
    const withdrawn = await despiteLocks(() =>
      db.transaction(async (tx) => {
        const held = await holdSubscriber(tx, keyring, { appId, ...address })
        if (held.length === 0) return undefined
        return optOut(tx, held, { environments: [environment], actor, source: 'api' })
      }),
    )
    if (withdrawn) return withdrawn
  }
  throw new Error('A recipient vanished each time its consent was being withdrawn.')
}

/** Erasures of one address that come between the two steps of one withdrawal. */
const maxErasuresMet = 5

/**
 * A STOP that a recipient sent to a provider: it goes for every app that knows the number. One that comes again, for as
 * long as the withdrawal is kept, or that is older than what the recipient has said since, changes nothing.
 */
export function stopByReply(
  db: Database,
  keyring: Keyring,
  {
    spellings,
    provider,
    environments,
    at,
    digest,
  }: {
    /** Of the number that it came from: it goes for the recipients under each of them. */
    spellings: readonly [string, ...string[]]
    provider: string
    environments: readonly Environment[]
    /** When it was sent, as far as the provider says it. */
    at: Date
    /** Of the message, see {@link inboundDigest}. */
    digest: Buffer
  },
): Promise<Withdrawn> {
  return despiteLocks(() =>
    db.transaction(async (tx) => {
      const held = await holdSubscriber(tx, keyring, {
        kind: 'phone',
        value: spellings[0],
        spellings,
      })
      const recipients = held.map(({ id }) => id)
      if (!(await isNewMessage(tx, { digest, recipients }))) return { cancelled: 0, wakes: [] }
      const source = `inbound:${provider}`
      return optOut(tx, held, { environments, actor: `provider:${provider}`, source, at })
    }),
  )
}

/** The recipients under every spelling of an address, held until the transaction ends. */
async function holdSubscriber(
  tx: Queries,
  keyring: Keyring,
  addressee: Addressee,
): Promise<HeldRecipient[]> {
  const { spellings = spellingsOfAddress(addressee) } = addressee
  const subscriber = { ...addressee, spellings }
  // A send that holds the row of one spelling, and that this waits for, may be adding that of another.
  if (spellings.length > 1) await holdRecipients(tx, keyring, subscriber)
  return holdRecipients(tx, keyring, subscriber)
}

async function optOut(
  tx: Queries,
  held: readonly HeldRecipient[],
  {
    environments,
    source,
    actor,
    at,
  }: {
    environments: readonly Environment[]
    source: string
    actor: string
    /** Undefined: now, whatever was said before. */
    at?: Date | undefined
  },
): Promise<Withdrawn> {
  const recipientIds = held.map(({ id }) => id)
  const said = await tx.many(
    optOutStatement({ recipientIds, environments: [...environments], source, at: at ?? null }),
  )
  const ended = await tx.many(
    cancelStatement({
      recipientIds: said.map(({ recipientId }) => recipientId),
      environments: said.map(({ environment }) => environment),
      actor,
    }),
  )
  for (const appId of [...new Set(held.map((row) => row.appId))].sort()) {
    const own = new Set(held.filter((row) => row.appId === appId).map(({ id }) => id))
    const theirs = said.filter(({ recipientId }) => own.has(recipientId))
    if (theirs.length === 0) continue
    const reached = environments.filter((one) =>
      theirs.some(({ environment }) => environment === one),
    )
    const cancelled = ended.filter((row) => row.appId === appId).length
    const detail = { source, environment: reached.join(' '), cancelled }
    await tx.many(auditAdmin({ appId, type: 'consent_withdrawn', actor, detail }))
  }
  return {
    cancelled: ended.length,
    wakes: ended.flatMap(({ requestId, dueAt }) =>
      dueAt ? [{ requestId, dueAt, signal: 'cancelled' as const }] : [],
    ),
  }
}
