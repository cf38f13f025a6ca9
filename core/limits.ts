/**
 * Pauses in seconds after the first send to a recipient, the second, and every later one of the last `windowSeconds`.
 * Pages keep them; a back end is only told.
 */
export const pacing = { pauses: [30, 60, 120], windowSeconds: 600 } as const

/** Seconds a caller should wait before offering "send again", given the sends made so far (>= 1). */
export const resendAfterSeconds = (sends: number): number =>
  pacing.pauses[Math.min(Math.max(sends, 1), pacing.pauses.length) - 1] ?? 120

/** A channel claimed less than this ago is not sent again. */
export const alreadySendingSeconds = 10

/** Checks per code, counted across resends. */
export const maxChecks = 5

/**
 * Wrong checks of one recipient across requests, resends and keys. Over `hourly` a pause follows each further one,
 * over `daily` nothing passes without a solved challenge, over `challenged` nothing at all, and `consecutive` ones without
 * a right one in between lock until an operator resets it: NIST SP 800-63B-4, 3.2.2, allows no more than 100, and names
 * pauses of 30 s rising to 1 h and challenges as what comes before that. The windows are ours: at 50 a day six digits are
 * guessed with a chance of 0.0015 in 30 days, however often the owner logs in meanwhile, and at 20 a day of 0.0006.
 */
export const checkBudget = {
  hourly: { max: 10, windowSeconds: 3_600 },
  daily: { max: 20, windowSeconds: 86_400 },
  challenged: { max: 50, windowSeconds: 86_400 },
  pause: { firstSeconds: 30, maxSeconds: 3_600 },
  consecutive: 100,
} as const

/**
 * Checks that come when there is nothing to check any more have an audit row each up to this: whoever repeats them for
 * days must neither fill the trail nor keep a request from being retired.
 */
export const lateCheckRows = { max: 20, withinSeconds: 3_600 } as const

/**
 * Guessing few times at many recipients passes by every budget of one recipient. What it is worth is the number of
 * takeovers to expect: the sum of wrong checks over the number of codes there are, of the last 24 hours.
 */
export const guessing = {
  windowSeconds: 86_400,
  /** So many checks of an app that failed, the newest, are looked at; with more of them, these stand for the rest. */
  counted: 20_000,
  /** They stand for as if they had taken this long at least: a burst is no pace. */
  shortestPaceSeconds: 600,
  /** Alert, at most once in `alertEverySeconds`: 1,000 wrong checks a day at six digits. */
  alertAt: 0.001,
  alertEverySeconds: 3_600,
  /** New codes get `longerBy` characters more: 10,000 wrong checks a day at six digits. */
  lengthenAt: 0.01,
  longerBy: 2,
} as const

/** Events of a request in its status. Each check is one, also of a request that is over: the answer must not grow with them. */
export const shownEvents = 200

/** Characters of a code. */
export const codeLengths = { min: 6, max: 10 } as const

/** Lifetimes in seconds. NIST SP 800-63B-4, 3.1.3.2: never more than 10 minutes. An app sets its own, high risk too. */
export const lifetime = { default: 300, min: 30, max: 600 } as const

/** How long after its end a request still answers a verify by phone, in seconds. */
export const answerAfterEndSeconds = 600

/** An unstarted request older than this is failed by the sweeper unless queued: a late code is worse than an error. */
export const startWithinSeconds = 30

/**
 * Sends of an app are refused while most of its newest runs have waited so long for their first message: what is accepted
 * now would come later still, and a late code is worse than an error. One run that stands still says nothing.
 */
export const backlog = {
  afterSeconds: 10,
  /** Runs that were started longer ago say nothing of now. */
  withinSeconds: 120,
  /** The runs of an app that are looked at, and how few say nothing. */
  newest: 10,
  atLeast: 5,
  /** The sends of all apps are refused while the newest run of most apps waits, of this many at least. */
  atLeastApps: 3,
} as const

/**
 * Dialling for a code. The views are of one code, until it is sent by USSD again: who has seen it three times has it.
 * The dials are of one number, whatever waits for it, the choices in a menu counted.
 */
export const ussdLimits = {
  views: 3,
  dials: { max: 10, windowSeconds: 60 },
  /** Apps that one screen offers to choose from. */
  brands: 3,
} as const

/** A claim older than this is claimed again before the socket is written. */
export const claimFreshMs = 2_000

/** Calls with publishable keys from one address, an IPv6 one by its /56 and its /48: anybody can read such a key out of a page. */
export const addressLimits = {
  send: { max: 10, windowSeconds: 3_600 },
  verify: { max: 30, windowSeconds: 600 },
  /** Each is good for one of the calls above; a page that asks again as it is opened again stays below. */
  challenge: { max: 60, windowSeconds: 600 },
} as const
export type AddressLimit = keyof typeof addressLimits

/** A /48 of IPv6 holds 256 networks of /56, and all of them together may have so many times what one may. */
export const ipv6SiteShare = 8

/**
 * A process takes this share of a key's quota at a time: at most 20 writes a minute and key, however many calls, and
 * what one process has taken in vain keeps little from the others.
 */
export const quotaShare = 1 / 20

/** Calls a minute that a key may make where nobody said how many. */
export const defaultRequestsPerMinute = 6_000
