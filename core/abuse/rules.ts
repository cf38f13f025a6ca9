import type { ScopeKind } from './scopes'
import { closeGaps, memory, noStanding, type Standing, wilsonUpper } from './standing'

/**
 * The fraud rules: pure, from counts that the database kept. Those of `sendRules` judge a send as it comes; those of
 * `slowRules` judge a scope once messages have had the time for their code to come back. Each looks at what makes pumped
 * traffic unlike that of users: its codes do not come back. Sources: docs/abuse.md.
 */
export const ruleNames = [
  /** A block of this scope stands. */
  'blocked',
  'block_velocity',
  'neighbours',
  'range_velocity',
  'country_velocity',
  'cold_velocity',
  'ip_velocity',
  'key_velocity',
  'app_velocity',
  'block_silence',
  'range_silence',
  'country_silence',
  'cold_silence',
  'conversion',
  'app_loss',
  // Of the number itself, before anything is counted.
  'number_type',
  'country',
  'satellite',
  'listed',
  // Of what carriers say.
  'lookup_unanswered',
  'pumping_risk',
  'sim_swap',
] as const
export type RuleName = (typeof ruleNames)[number]

/** What a rule found, for the decision's row and for people. */
export interface Finding {
  rule: RuleName
  /** The scope it is about; `send`: this send alone, so that no block is raised for it. */
  scope: ScopeKind | 'send'
  /** The scope's name, under which a block of it stands; empty for a send. */
  name: string
  /** `challenge` where the finding says only that something is wrong, not who. */
  asks: 'block' | 'challenge'
  /** What was counted, and from how much on the rule finds it. */
  count: number
  limit: number
}

/** A scope of the send, with what is known of it now, the send itself counted. */
export interface KnownScope {
  kind: ScopeKind
  name: string
  standing: Standing
  /** A block of it stands; `challenge` where a solved challenge passes it. */
  blocked?: 'block' | 'challenge' | undefined
}

/** Pending messages that a scope may have whatever its history: users who are about to type their code, or will not. */
const floors: Readonly<Record<ScopeKind, number>> = {
  block: 5,
  key: 5,
  ip: 10,
  range: 25,
  cold: 25,
  country: 40,
  app: 60,
}
/** The same while an app has this many more pending messages than its users explain: every place counts less then. */
const tightFrom = 30
const tightFloors: Readonly<Record<ScopeKind, number>> = {
  ...floors,
  block: 2,
  key: 3,
  ip: 5,
  range: 8,
  cold: 12,
}
/** A country where hardly anybody has ever come back has less. */
const coldCountryFloor = { usual: 15, tight: 5 } as const
/** Codes of the last month that make a country one with users; `count_send` knows it too. */
const warmFrom = 3

/** How long a user takes to type a code in, in seconds. */
const typingSeconds = 60
/** The share of messages whose code no user types in: never taken for less, or for more, than this. */
const lossBounds = { least: 0.15, most: 0.6 } as const
/** What is taken for granted before anything was seen: so many messages, such a share of them lost. */
const lossPrior = { messages: 30, share: 0.15 } as const

/**
 * The share of a scope's messages that are lost on its own users, as far as the last month tells; the last day does not
 * count, or an attack would be what is usual.
 */
function usualLoss({ failed, passedDay, failedEver, passedEver }: Standing): number {
  const lost = Math.max(failedEver - failed, 0)
  const all = lost + Math.max(passedEver - passedDay, 0)
  const seen = (lost + lossPrior.messages * lossPrior.share) / (all + lossPrior.messages)
  return Math.min(Math.max(seen, lossBounds.least), lossBounds.most)
}

/**
 * How many pending messages the users explain who came back with their codes: as many are on their way, and some of
 * them never type theirs in.
 */
export function expectedPending(standing: Standing): number {
  const { passed, passedHour } = standing
  const perSecond = Math.max(passed / memory.passed, passedHour / memory.hour)
  const loss = usualLoss(standing)
  return perSecond * ((memory.pending * loss) / (1 - loss) + typingSeconds)
}

/** From how many pending messages on a scope has more than its users explain; chance is allowed for. */
export function pendingLimit(standing: Standing, floor: number): number {
  const expected = expectedPending(standing)
  return floor + 1.5 * expected + 3 * Math.sqrt(expected)
}

/** How many more messages than its users explain were lost of late, beyond chance. */
function lostBeyondUsual(standing: Standing): number {
  const { failed, passedDay } = standing
  const expected = (failed + passedDay) * usualLoss(standing)
  return failed - expected - 3 * Math.sqrt(expected)
}

const neighbours = { least: 4, gap: 10, gaps: 3 } as const

/** Rules on what a send makes of the counts; `app` is the app's own standing. */
export function judgeSend(scopes: readonly KnownScope[]): Finding[] {
  const standingOf = (kind: ScopeKind) =>
    scopes.find((scope) => scope.kind === kind)?.standing ?? noStanding
  const app = standingOf('app')
  const isTight = app.pending - expectedPending(app) > tightFrom
  const findings = scopes.flatMap((scope): Finding[] => {
    if (scope.blocked) return [blockedBy(scope, scope.blocked)]
    return velocity(scope, isTight)
  })
  const block = scopes.find(({ kind }) => kind === 'block')
  if (block && !block.blocked) findings.push(...neighboursIn(block))
  return findings
}

const blockedBy = ({ kind, name }: KnownScope, asks: Finding['asks']): Finding => ({
  rule: 'blocked',
  scope: kind,
  name,
  asks,
  count: 1,
  limit: 1,
})

function velocity({ kind, name, standing }: KnownScope, isTight: boolean): Finding[] {
  const isKnown = standing.passedEver >= warmFrom
  const usual = (isTight ? tightFloors : floors)[kind]
  const cold = coldCountryFloor[isTight ? 'tight' : 'usual']
  const floor = kind === 'country' && !isKnown ? cold : usual
  const limit = pendingLimit(standing, floor)
  if (standing.pending <= limit) return []
  // Of a whole app, and of a country with users in it, only some sends are the attacker's: nobody can say which.
  const asks = kind === 'app' || (kind === 'country' && isKnown) ? 'challenge' : 'block'
  return [{ rule: `${kind}_velocity`, scope: kind, name, asks, count: standing.pending, limit }]
}

function neighboursIn({ kind, name, standing }: KnownScope): Finding[] {
  const { least, gap, gaps } = neighbours
  const { places, pending, failed } = standing
  const close = closeGaps(places, gap)
  if (pending + failed < least || close < gaps) return []
  return [{ rule: 'neighbours', scope: kind, name, asks: 'block', count: close, limit: gaps }]
}

/** So unlikely must it be that users left a place silent by chance. */
const silenceChance = 0.001
/** Fewer numbers than this say nothing, however little an app loses; the second while it loses more than it should. */
const silentNumbers = { usual: 4, tight: 3 } as const
/** What other places than blocks need, whose numbers are not told apart. */
const silentMessages: Partial<Record<ScopeKind, number>> = { range: 15, country: 15, cold: 20 }
/** While an app loses this many more messages than it should, its places are judged by less. */
const tightLossFrom = 20
/** From this many on everybody is asked for a challenge: nobody can say where it is. */
const lossFrom = 40
/** Below this an app's own codes come back so seldom that silence says nothing. */
const speakingShare = 0.3
/** The share of codes that may come back, at most, for a scope to be one of an attack. */
const poorShare = 0.1
const conversionFrom = 20

/** Rules on messages that had their time; `app` is the scope's app. */
export function judgeMatured(scope: KnownScope, app: Standing): Finding[] {
  const { kind, name, standing } = scope
  const { failed, passedDay } = standing
  const isKnown = kind === 'app' || (kind === 'country' && standing.passedEver >= warmFrom)
  const found = (rule: RuleName, count: number, limit: number): Finding[] => [
    { rule, scope: kind, name, asks: isKnown ? 'challenge' : 'block', count, limit },
  ]
  if (kind === 'app') {
    const lost = lostBeyondUsual(standing)
    return speaks(standing) && lost > lossFrom ? found('app_loss', lost, lossFrom) : []
  }
  const least = isKnown || !speaks(app) || passedDay >= 0.5 ? undefined : silenceFor(kind, app)
  if (least !== undefined && isSilent(scope, least))
    return found(`${kind as 'block' | 'range' | 'country' | 'cold'}_silence`, failed, least)
  const all = failed + passedDay
  const share = wilsonUpper(passedDay, all)
  return all >= conversionFrom && share < poorShare ? found('conversion', share, poorShare) : []
}

/** Whether an app's users do come back: else it is an outage, or it has no users. */
const speaks = ({ passedDay, failed }: Standing): boolean =>
  passedDay >= 5 && passedDay / (passedDay + failed) >= speakingShare

/** From how many lost messages on a scope is silent; undefined where silence says nothing. */
function silenceFor(kind: ScopeKind, app: Standing): number | undefined {
  const isTight = lostBeyondUsual(app) > tightLossFrom
  if (kind !== 'block') {
    const least = silentMessages[kind]
    return least && (isTight ? Math.ceil(least / 2) : least)
  }
  if (isTight) return silentNumbers.tight
  return Math.max(
    Math.ceil(Math.log(silenceChance) / Math.log(usualLoss(app))),
    silentNumbers.usual,
  )
}

/** One user who tries again and again is no attack: the numbers of a block count, each once. */
const isSilent = ({ kind, standing: { failed, places } }: KnownScope, least: number): boolean =>
  failed >= least - 0.5 && (kind !== 'block' || new Set(places).size >= Math.min(least, 8))

/** How long blocks of a scope stand, in seconds: the first, the next within the week after, and so on; then until lifted. */
export const blockLives = [900, 3_600, 21_600, 86_400] as const
/** Those that a solved challenge passes do not get longer than this: users live there. */
export const longestChallengeSeconds = 3_600
/** A block that ends and is needed again within this, in seconds, is the next one. */
export const blockMemorySeconds = 7 * 86_400
