import { z } from 'zod'
import { protectionModes } from '../../core/protection/protection'
import { scopeKinds } from '../../core/protection/scopes'
import { verdicts } from '../../core/protection/verdict'
import { withoutSeparators } from '../../core/input/typed-number'
import { environments } from '../../core/requests/state'
import { scopesByHand } from '../../db/protection/blocks-by-hand'
import { appId, appInQuestion, pageSize } from './admin'
import { requestIdInput, time } from './common'
import { named } from './registry'
import { givenExactlyWith, type Rule, withRules } from './rules'

export const blockId = z
  .string()
  .regex(/^blk_[a-z2-7]{26}$/, 'is no block id')
  .meta({ examples: ['blk_k3v7x2m4q6t5z7a2b4c6d3e5f7'] })

const environment = z.enum(environments)
const asks = z
  .enum(['block', 'challenge'])
  .describe('Whether its sends are refused, or pass with a solved challenge.')
const label = z
  .string()
  .nullable()
  .describe('A country, or the beginning of a number; null for an address, and for a whole app.')

export const BlockAnswer = named(
  'Block',
  z.object({
    block_id: blockId,
    app_id: appId,
    environment,
    scope: z.enum(scopeKinds).describe('What is blocked: see docs/abuse.md.'),
    label,
    rule: z.string().describe('What raised it; by_hand: a person.'),
    asks,
    level: z.int().describe('How often in a row: each time it stands longer.'),
    since: time,
    until: time.nullable().describe('Null: until it is lifted.'),
    lifted_at: time.nullable(),
    standing: z.boolean(),
    refused: z.int().describe('Sends that it refused.'),
    last_refused_at: time.nullable(),
  }),
)
export type BlockAnswer = z.infer<typeof BlockAnswer>

const whoseFilter = appId.optional().describe('Of this app only.')

export const BlocksQuery = z.strictObject({
  app_id: whoseFilter,
  environment: environment.optional(),
  standing: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .describe('Only those that stand, or only those that are over.'),
  limit: pageSize,
  cursor: z.string().max(200).optional().describe('`next_cursor` of the page before.'),
})

export const BlocksAnswer = named(
  'Blocks',
  z.object({
    blocks: z.array(BlockAnswer).describe('Newest first; of each place, the last one.'),
    next_cursor: z.string().nullable(),
  }),
)

/** What names the place of each scope. */
const placeOf: Readonly<Record<(typeof scopesByHand)[number], 'prefix' | 'country' | null>> = {
  block: 'prefix',
  range: 'prefix',
  country: 'country',
  cold: null,
  app: null,
}

const placeGiven = (place: 'prefix' | 'country'): Rule[] =>
  givenExactlyWith(place, 'scope', {
    wanted: scopesByHand.filter((scope) => placeOf[scope] === place),
    unwanted: scopesByHand.filter((scope) => placeOf[scope] !== place),
  })

export const BlockBody = named(
  'BlockBody',
  withRules(
    z.strictObject({
      app_id: appInQuestion,
      environment,
      scope: z
        .enum(scopesByHand)
        .describe(
          'block: numbers that differ in their last four digits only; range: in their last six; cold: ranges where nobody has come back from.',
        ),
      prefix: z
        .string()
        .overwrite(withoutSeparators)
        .regex(/^\+[1-9]\d{2,12}$/, 'must be the beginning of a number, as +23324123')
        .optional()
        .describe('Of a block or a range: the number without those last digits.'),
      country: z
        .string()
        .regex(/^[A-Z]{2}$/, 'must be two capital letters, as GH')
        .optional(),
      asks: asks.optional(),
      seconds: z
        .int()
        .min(60)
        .max(31_536_000)
        .optional()
        .describe('How long it stands; until it is lifted when absent.'),
    }),
    ...placeGiven('prefix'),
    ...placeGiven('country'),
  ),
)

const Findings = z.array(
  named(
    'Finding',
    z.object({
      rule: z.string(),
      scope: z.string().describe('What it is about; send: this send alone.'),
      label,
      asks,
      count: z.number().describe('What was counted.'),
      limit: z.number().describe('From how much on the rule finds it.'),
    }),
  ),
)

const judgement = {
  verdict: z.enum(verdicts),
  mode: z.enum(protectionModes).describe('What findings did at that time.'),
  findings: Findings.describe('What the rules said, those too that did not count.'),
}

/** Of the newest send of a request. */
export const ProtectionAnswer = named('Protection', z.object(judgement))
export type ProtectionAnswer = z.infer<typeof ProtectionAnswer>

const DecisionAnswer = named(
  'Decision',
  z.object({
    decision_id: z.string(),
    request_id: z.string().describe('A refused send made no request of this id.'),
    app_id: appId,
    environment,
    country: z.string().nullable(),
    at: time,
    ...judgement,
    outcome: z
      .string()
      .nullable()
      .describe(
        'converted: its code came back; unconverted, superseded: it did not; null: not known yet.',
      ),
  }),
)
export type DecisionAnswer = z.infer<typeof DecisionAnswer>

export const DecisionsQuery = z.strictObject({
  app_id: whoseFilter,
  environment: environment.optional(),
  verdict: z.enum(verdicts).optional(),
  request_id: requestIdInput.optional(),
  since: z.iso
    .datetime({ offset: true, error: 'must be a time as in RFC 3339' })
    .optional()
    .describe('From this time on.'),
  limit: pageSize,
  cursor: z
    .string()
    .regex(/^\d{1,39}$/, 'is no cursor')
    .optional()
    .describe('`next_cursor` of the page before.'),
})

export const DecisionsAnswer = named(
  'Decisions',
  z.object({
    decisions: z.array(DecisionAnswer).describe('Newest first.'),
    next_cursor: z.string().nullable(),
  }),
)
