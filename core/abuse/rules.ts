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
  'conversion',
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
  cold: 40,
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
  cold: 20,
}
/** A country where nobody has ever come back has less. */
const unknownCountryFloor = 15
/** Codes of the last month that make a range warm, or a country known. */
export const warmFrom = 3

/** How long a user takes to type a code in, in seconds, and the share of users who do not, where nothing is known. */
const typingSeconds = 60
const usualLoss = { least: 0.15, most: 1 } as const

/**
 * How many pending messages the users explain who came back with their codes: as many are on their way, and some of
 * them never type theirs in.
 */
export function expectedPending({ passed, passedHour, failed, passedDay }: Standing): number {
  const perSecond = Math.max(passed / memory.passed, passedHour / memory.hour)
  const lossSeen = passedDay > 0 ? failed / passedDay : usualLoss.least
  const loss = Math.min(Math.max(lossSeen, usualLoss.least), usualLoss.most)
  return perSecond * (memory.pending * loss + typingSeconds)
}

/** From how many pending messages on a scope has more than its users explain; chance is allowed for. */
export function pendingLimit(standing: Standing, floor: number): number {
  const expected = expectedPending(standing)
  return floor + 1.5 * expected + 3 * Math.sqrt(expected)
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
  const floor = kind === 'country' && !isKnown ? unknownCountryFloor : usual
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

/** Messages that had their time, none of which came back, where the app's others do come back. */
const silence: Partial<Record<ScopeKind, number>> = { block: 9, range: 15 }
/** Below this an app's own codes come back so seldom that silence says nothing. */
const speakingShare = 0.3
/** The share of codes that may come back, at most, for a scope to be one of an attack. */
const poorShare = 0.1
const conversionFrom = 20

/** Rules on messages that had their time. */
export function judgeMatured({ kind, name, standing }: KnownScope, app: Standing): Finding[] {
  const { failed, passedDay } = standing
  const all = failed + passedDay
  const least = silence[kind]
  const appSpeaks =
    app.passedDay >= 5 && app.passedDay / (app.passedDay + app.failed) >= speakingShare
  if (least !== undefined && appSpeaks && failed >= least && passedDay < 0.5) {
    const rule = kind === 'block' ? 'block_silence' : 'range_silence'
    return [{ rule, scope: kind, name, asks: 'block', count: failed, limit: least }]
  }
  if (all < conversionFrom || wilsonUpper(passedDay, all) >= poorShare) return []
  const isWhole = kind === 'app' || (kind === 'country' && standing.passedEver >= warmFrom)
  return [
    {
      rule: 'conversion',
      scope: kind,
      name,
      asks: isWhole ? 'challenge' : 'block',
      count: wilsonUpper(passedDay, all),
      limit: poorShare,
    },
  ]
}

/** How long blocks of a scope stand, in seconds: the first, the next within the week after, and so on; then until lifted. */
export const blockLives = [900, 3_600, 21_600, 86_400] as const
/** A block that ends and is needed again within this, in seconds, is the next one. */
export const blockMemorySeconds = 7 * 86_400
