import type { ScopeKind } from './scopes'
import { closeGaps, memory, noStanding, type Standing, wilsonUpper } from './standing'

/**
 * The fraud rules: pure, from counts that the database kept. {@link judgeSend} judges a send as it comes,
 * {@link judgeMatured} a scope once messages have had the time for their code to come back. Each looks at what makes pumped
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
  'country_loss',
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
/** Number of codes of the last month that make a country one with users. */
export const warmFrom = 3
/** An app from which fewer codes came back is new. */
const newApp = 20
const newAppFloors = { country: 40, cold: 60 } as const
/** Where so many codes came back in a month challenges are asked for first, and all is shut at so many times the limit. */
const knownFrom: Partial<Record<ScopeKind, number>> = { block: 0.5, range: 3 }
const challengedFor = 2

/** How long a user takes to type a code in, in seconds. */
const typingSeconds = 60
/** The share of messages whose code no user types in: never taken for less, or for more, than this. */
const lossBounds = { least: 0.15, most: 0.6 } as const
/** What is taken for granted before anything was seen: so many messages, such a share of them lost. */
const lossPrior = { messages: 100, share: 0.18 } as const
/** While a place is known for less than about three days, what it loses is never taken for more than this to be usual. */
const newcomersLoss = 0.25
const knownForDays = 2.5

/**
 * The share of a scope's messages that are lost on its own users, as far as the last month tells; the last day does not
 * count, or an attack would be what is usual.
 */
function usualLoss({ failed, passedDay, failedEver, passedEver }: Standing): number {
  const most = passedEver > knownForDays * passedDay ? lossBounds.most : newcomersLoss
  return Math.min(lossOf(failedEver - failed, passedEver - passedDay), most)
}

/** The share of messages that are lost, what is taken for granted among them, within bounds. */
function lossOf(failed: number, passed: number): number {
  const lost = Math.max(failed, 0)
  const all = lost + Math.max(passed, 0)
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

/** How many more messages than users explain were lost, beyond chance: in the last day, and in the last hour. */
function lostBeyond(standing: Standing, loss: number): { day: number; hour: number } {
  const { failed, passedDay, failedHour, passedHour } = standing
  const beyond = (lost: number, passed: number) => {
    const expected = (lost + passed) * loss
    return lost - expected - 3 * Math.sqrt(expected)
  }
  return { day: beyond(failed, passedDay), hour: beyond(failedHour, passedHour) }
}

/** The share that an app loses in all other places: what one of them loses beyond is its own. */
const lossElsewhere = (place: Standing, app: Standing): number =>
  lossOf(app.failed - place.failed, app.passedDay - place.passedDay)

const neighbours = { least: 4, gap: 10, gaps: 3 } as const

/** Rules on what a send makes of the counts. */
export function judgeSend(scopes: readonly KnownScope[]): Finding[] {
  const standingOf = (kind: ScopeKind) =>
    scopes.find((scope) => scope.kind === kind)?.standing ?? noStanding
  const app = standingOf('app')
  const isTight = app.pending - expectedPending(app) > tightFrom
  const findings = scopes.flatMap((scope): Finding[] => {
    // What a solved challenge passes may have too much waiting all the same.
    const more = scope.blocked === 'block' ? [] : velocity(scope, { app, isTight })
    return scope.blocked ? [blockedBy(scope, scope.blocked), ...more] : more
  })
  const block = scopes.find(({ kind }) => kind === 'block')
  if (block && !block.blocked) findings.push(...neighboursIn(block))
  return findings
}

/** While an app is new all countries are cold, and its first users come in a rush. */
function floorOf(
  { kind, standing }: KnownScope,
  { app, isTight }: { app: Standing; isTight: boolean },
): number {
  const usual = (isTight ? tightFloors : floors)[kind]
  const isNew = app.passedEver < newApp
  if (kind === 'cold') return isNew ? newAppFloors.cold : usual
  if (kind !== 'country' || standing.passedEver >= warmFrom) return usual
  return isNew ? newAppFloors.country : coldCountryFloor[isTight ? 'tight' : 'usual']
}

/**
 * What a place that is out of line asks for. Of a whole app only some sends are the attacker's. And while an app is new,
 * every country is cold: a block of them would keep its first users out, who are to make them warm.
 */
const asksOf = (kind: ScopeKind, app: Standing): Finding['asks'] =>
  kind === 'app' || ((kind === 'cold' || kind === 'country') && app.passedEver < newApp)
    ? 'challenge'
    : 'block'

const blockedBy = ({ kind, name }: KnownScope, asks: Finding['asks']): Finding => ({
  rule: 'blocked',
  scope: kind,
  name,
  asks,
  count: 1,
  limit: 1,
})

function velocity(
  scope: KnownScope,
  { app, isTight }: { app: Standing; isTight: boolean },
): Finding[] {
  const { kind, name, standing } = scope
  const { pending, passedEver } = standing
  const limit = pendingLimit(standing, floorOf(scope, { app, isTight }))
  if (pending <= limit) return []
  // Where users live only some sends are the attacker's: nobody can say which. Whoever solves for money is stopped later.
  const mayBeUser =
    (kind === 'country' && passedEver >= warmFrom) ||
    (passedEver >= (knownFrom[kind] ?? Infinity) && pending <= challengedFor * limit)
  const asks = mayBeUser ? 'challenge' : asksOf(kind, app)
  return [{ rule: `${kind}_velocity`, scope: kind, name, asks, count: pending, limit }]
}

function neighboursIn({ kind, name, standing }: KnownScope): Finding[] {
  const { least, gap, gaps } = neighbours
  const { places, pending, failed } = standing
  const close = closeGaps(places, gap)
  if (pending + failed < least || close < gaps) return []
  return [{ rule: 'neighbours', scope: kind, name, asks: 'block', count: close, limit: gaps }]
}

/** So unlikely must it be that users left a place silent by chance. */
const silenceChance = 0.002
/**
 * Fewer numbers than this say nothing, however little an app loses; the second while it loses more than it should, or
 * where so many blocks of its stand already.
 */
const silentNumbers = { usual: 4, tight: 3, standingBlocks: 3 } as const
/** What other places than blocks need, whose numbers are not told apart. */
const silentMessages: Partial<Record<ScopeKind, number>> = { range: 15, country: 15, cold: 20 }
/** While an app loses this many more messages than it should, its places are judged by less. */
const tightLossFrom = { day: 20, hour: 10 } as const
/** From this many on everybody there is asked for a challenge: nobody can say who it is. */
const lossFrom = {
  app: { day: 40, hour: 25 },
  country: { day: 25, hour: 15 },
} as const
/** Below this an app's own codes come back so seldom that silence says nothing. */
const speakingShare = 0.3
/** The share of codes that may come back, at most, for a scope to be one of an attack. */
const poorShare = 0.1
const conversionFrom = 20

/**
 * Rules on messages that had their time.
 * @param app the scope's app, and how many of its number blocks are shut
 */
export function judgeMatured(
  scope: KnownScope,
  { standing: app, standingBlocks }: { standing: Standing; standingBlocks: number },
): Finding[] {
  const { kind, name, standing } = scope
  const { failed, passedDay } = standing
  const isKnown = kind === 'app' || (kind === 'country' && standing.passedEver >= warmFrom)
  const found = (rule: RuleName, count: number, limit: number): Finding[] => [
    { rule, scope: kind, name, asks: isKnown ? 'challenge' : asksOf(kind, app), count, limit },
  ]
  if (isKnown && speaks(standing)) {
    const usual = usualLoss(standing)
    const loss = kind === 'app' ? usual : Math.max(usual, lossElsewhere(standing, app))
    const { day, hour } = lostBeyond(standing, loss)
    const from = lossFrom[kind === 'app' ? 'app' : 'country']
    if (hour > from.hour) return found(`${kind}_loss`, hour, from.hour)
    return day > from.day ? found(`${kind}_loss`, day, from.day) : []
  }
  const least =
    isKnown || !speaks(app) || passedDay >= 0.5 ? undefined : silenceFor(kind, app, standingBlocks)
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
function silenceFor(kind: ScopeKind, app: Standing, standingBlocks: number): number | undefined {
  const { day, hour } = lostBeyond(app, usualLoss(app))
  const isTight = day > tightLossFrom.day || hour > tightLossFrom.hour
  if (kind !== 'block') {
    const least = silentMessages[kind]
    return least && (isTight ? Math.ceil(least / 2) : least)
  }
  if (isTight || standingBlocks >= silentNumbers.standingBlocks) return silentNumbers.tight
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
/** What slow rules find is slow: a block that ends before the next message comes would let it through. */
const firstLevels: Partial<Record<RuleName, number>> = {
  block_silence: 4,
  range_silence: 2,
  country_silence: 2,
  cold_silence: 2,
}
/** Where many users may be met too: these end by themselves, and never get longer than this. */
const mostLevels: Partial<Record<Finding['scope'], number>> = { cold: 3, country: 3 }
/** A solved challenge passes it: users live there, and it does not get longer than this. */
const mostOfChallenges = 2

/** Which of {@link blockLives} a finding's block begins with, and the last that it may have; 5: until lifted. */
export function levelsOf({ rule, scope, asks }: Finding): { first: number; most: number } {
  const most =
    asks === 'challenge' ? mostOfChallenges : (mostLevels[scope] ?? blockLives.length + 1)
  return { first: Math.min(firstLevels[rule] ?? 1, most), most }
}

/** Whether refusals keep a block from ending: where it is one of few, so that hardly any user is kept waiting by it. */
export const mayPersist = ({ scope }: Pick<Finding, 'scope'>): boolean =>
  mostLevels[scope] === undefined

/** A block that ends and is needed again within this, in seconds, is the next one. */
export const blockMemorySeconds = 7 * 86_400
