import { wilsonUpper } from '../protection/standing'
import type { AppFigures, DayFigures } from './figures'
import { usualDays } from './figures'
import type { AlertDetail, AlertName, Assessment, AlertRule, Severity } from './rule'

/**
 * Rules on what an app's sends came to. Each gives one assessment where there is enough to judge, and none where not:
 * small numbers say nothing. Sources of the limits: docs/abuse.md.
 */
export function judgeApp(all: AppFigures, countries: readonly AppFigures[]): Assessment[] {
  const named = countries.filter(({ country }) => country !== '')
  return [
    deliveryRate(all),
    volumeSpike(all, all.oldest),
    lockoutWave(all),
    refusalWave(all),
    ...named.flatMap((figures) => [
      volumeSpike(figures, all.oldest),
      conversionDrop(figures),
      geographicAnomaly(figures, all),
    ]),
  ].filter((assessment) => assessment !== undefined)
}

const delivery = {
  least: 30,
  below: 0.9,
  /** With fewer, chance must be excluded: the 95 % interval ends below the limit. */
  sureFrom: 200,
  recoversAt: 0.92,
  criticalBelow: 0.5,
} as const

/** Whether a share of messages arrives; undefined: too few to say. */
export function judgeDelivery(reached: number, due: number): Judged | undefined {
  const { least, below, sureFrom, recoversAt, criticalBelow } = delivery
  if (due < least) return undefined
  const rate = reached / due
  const isSure = due >= sureFrom || wilsonUpper(reached, due) < below
  return {
    fires: rate < below && isSure,
    recovers: rate >= recoversAt,
    severity: rate < criticalBelow ? 'critical' : 'warning',
    detail: { rate: rounded(rate), messages: due, limit: below },
  }
}

const deliveryRate = (figures: AppFigures) =>
  assess('delivery_rate', figures, judgeDelivery(figures.reached, figures.due))

const conversion = {
  least: 20,
  usualLeast: 100,
  /** An app whose codes hardly ever come back has no usual to fall from. */
  usualRate: 0.2,
  share: 0.6,
  recoversAt: 0.75,
  criticalShare: 0.3,
} as const

function conversionDrop(figures: AppFigures) {
  const { matured, converted, weekMatured, weekConverted } = figures
  const { least, usualLeast, usualRate, share, recoversAt, criticalShare } = conversion
  const usual = weekConverted / weekMatured
  if (matured < least || weekMatured < usualLeast || usual < usualRate) return undefined
  const rate = converted / matured
  // What the share may still be, chance allowed for.
  const atMost = wilsonUpper(converted, matured)
  return assess('conversion_drop', figures, {
    fires: atMost < share * usual,
    recovers: rate >= recoversAt * usual,
    severity: atMost < criticalShare * usual ? 'critical' : 'warning',
    detail: { rate: rounded(rate), usual: rounded(usual), requests: matured },
  })
}

const geography = {
  sends: 15,
  /** Codes that came back within four weeks, from which on an app has users in a country. */
  usersFrom: 3,
  matured: 10,
  poorShare: 0.2,
  goodShare: 0.35,
  /** A country whose part of the traffic grows so much, and is so large then. */
  jump: { sends: 50, times: 5, part: 0.25, recoverPart: 0.2, usualSends: 200 },
} as const

/** Volume from where the app has no users, or from where it has never had so much. */
function geographicAnomaly(figures: AppFigures, all: AppFigures) {
  const { sends, usersFrom, matured: least, poorShare, goodShare, jump } = geography
  const { sendsSix, users, matured, converted, weekSends } = figures
  const part = sendsSix / Math.max(all.sendsSix, 1)
  const usualPart = weekSends / Math.max(all.weekSends, 1)
  const share = matured > 0 ? converted / matured : 0
  const isUnknown = users < usersFrom && sendsSix >= sends
  const isPoor = matured >= least && share <= poorShare
  const hasJumped =
    all.weekSends >= jump.usualSends &&
    sendsSix >= jump.sends &&
    part >= jump.part &&
    part >= jump.times * usualPart
  const isLarge =
    sendsSix >= jump.sends && part >= jump.recoverPart && part >= (jump.times / 2) * usualPart
  return assess('geographic_anomaly', figures, {
    fires: (isUnknown && isPoor) || hasJumped,
    recovers: (sendsSix < sends / 2 || share >= goodShare || users >= 2 * usersFrom) && !isLarge,
    severity: isUnknown && isPoor ? 'critical' : 'warning',
    detail: {
      sends: sendsSix,
      users,
      rate: rounded(share),
      part: rounded(part),
      usual_part: rounded(usualPart),
    },
  })
}

const volume = {
  /** Of days before, so many must be known. */
  days: 3,
  large: { sigmas: 6, above: 1_000, recoverSigmas: 3 },
  small: { times: 5, above: 50, recoverTimes: 3 },
  criticalTimes: 10,
} as const

/**
 * More than six sigma and more than 1,000 in twelve hours; or, for those with less, five times what is usual and more
 * than 50 in an hour. What is usual is the median of the days before at this time of the day, so that a day with an
 * attack in it changes little; a sigma is a tenth of it at least, since traffic grows.
 */
function volumeSpike(figures: AppFigures, oldest: number) {
  const known = Math.min(Math.floor(oldest / 24), usualDays)
  const { days, large, small, criticalTimes } = volume
  if (known < days) return undefined
  const past = pastDays(figures.days, known)
  const now = figures.days.find(({ day }) => day === 0) ?? { hour: 0, before: 0, half: 0 }
  const half = spreadOf(past.map((day) => day.half))
  const hours = (['hour', 'before'] as const).map((name) => ({
    sends: now[name],
    usual: spreadOf(past.map((day) => day[name])).middle,
  }))
  const worst = hours.reduce((one, other) => (times(other) > times(one) ? other : one))
  const isFar = (sigmas: number) => now.half > half.middle + sigmas * half.sigma
  const isMany = (limit: number) =>
    hours.some(({ sends, usual }) => sends > small.above && sends > limit * usual)
  return assess('volume_spike', figures, {
    fires: (isFar(large.sigmas) && now.half > large.above) || isMany(small.times),
    recovers:
      !(isFar(large.recoverSigmas) && now.half > large.above) && !isMany(small.recoverTimes),
    severity: times(worst) > criticalTimes && isMany(criticalTimes) ? 'critical' : 'warning',
    detail: {
      sends: worst.sends,
      usual: worst.usual,
      sends_12h: now.half,
      usual_12h: Math.round(half.middle),
    },
  })
}

const times = ({ sends, usual }: { sends: number; usual: number }) => sends / Math.max(usual, 1)

/** The days before today, those without a send too. */
const pastDays = (days: readonly DayFigures[], known: number): Omit<DayFigures, 'day'>[] =>
  Array.from(
    { length: known },
    (_, index) => days.find(({ day }) => day === index + 1) ?? { hour: 0, before: 0, half: 0 },
  )

function spreadOf(values: readonly number[]): { middle: number; sigma: number } {
  const middle = median(values)
  const scatter = 1.4826 * median(values.map((value) => Math.abs(value - middle)))
  return { middle, sigma: Math.max(scatter, Math.sqrt(middle), middle / 10, 1) }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  const [low = 0, high = low] = [sorted[Math.ceil(half) - 1], sorted[Math.floor(half)]]
  return (low + high) / 2
}

/** Hours that figures of the last two hours are compared with. */
const weekHours = 168

const lockouts = { least: 10, times: 5, criticalTimes: 10 } as const

function lockoutWave(figures: AppFigures) {
  const { locked, weekLocked } = figures
  const usual = (2 * weekLocked) / weekHours
  const limit = Math.max(lockouts.least, lockouts.times * usual)
  return assess('lockout_wave', figures, {
    fires: locked >= limit,
    recovers: locked < limit / 2,
    severity: locked >= lockouts.criticalTimes * limit ? 'critical' : 'warning',
    detail: { locked, usual: rounded(usual) },
  })
}

const refusals = { least: 50, share: 0.3, times: 3 } as const

function refusalWave(figures: AppFigures) {
  const { sends, refused, weekSends, weekRefused } = figures
  const all = Math.max(sends + refused, 1)
  const usual = weekRefused / Math.max(weekSends + weekRefused, 1)
  const limit = Math.max(refusals.share, refusals.times * usual)
  return assess('refusal_wave', figures, {
    fires: refused >= refusals.least && refused / all >= Math.min(limit, 0.9),
    recovers: refused < refusals.least / 2 || refused / all < limit / 2,
    severity: 'warning',
    detail: { refused, share: rounded(refused / all), usual: rounded(usual) },
  })
}

/** What a rule says of its figures. */
export interface Judged {
  fires: boolean
  recovers: boolean
  severity: Severity
  detail: AlertDetail
}

function assess(
  rule: AlertRule,
  { appId, environment, country }: Pick<AppFigures, 'appId' | 'environment' | 'country'>,
  judged: Judged | undefined,
): Assessment | undefined {
  return judged && assessmentOf({ appId, environment, rule, subject: country }, judged)
}

export const assessmentOf = (
  name: AlertName,
  { fires, recovers, severity, detail }: Judged,
): Assessment => ({
  ...name,
  severity,
  detail,
  state: fires ? 'fires' : recovers ? 'recovers' : 'holds',
})

/** Shares and means, short enough to read. */
export const rounded = (value: number): number => Math.round(value * 1_000) / 1_000
