import type { Environment } from '../requests/state'

/** What is usual is taken from so many days before today. */
export const usualDays = 14

/** Sends at this time of one day: in this hour of the day, the one before, and the twelve that end with this one. */
export interface DayFigures {
  /** 0: today, with the hour that is under way. */
  day: number
  hour: number
  before: number
  half: number
}

/** What an app's sends to one country came to. Hours are whole ones of the clock; the one under way counts. */
export interface AppFigures {
  appId: string
  environment: Environment
  /** Two letters; empty where there is none. */
  country: string
  /** Days on which nothing was sent may be absent. */
  days: readonly DayFigures[]
  /** How many hours ago the first send of these days was. */
  oldest: number
  /** Of the last two hours; `refused` also those that are asked for a challenge. */
  sends: number
  refused: number
  locked: number
  /** Of the last three hours: requests that had the time for a message to arrive, and whose message did. */
  due: number
  reached: number
  /** Of the last four: requests whose code had its time, and whose code came back. */
  matured: number
  converted: number
  sendsSix: number
  /** Of the week before these. */
  weekSends: number
  weekRefused: number
  weekLocked: number
  weekMatured: number
  weekConverted: number
  /** Codes that came back in the four weeks before yesterday; of the week alone where it had ten, or too few sends ask. */
  users: number
}

/** The figures of all countries of each app and environment together, beside those of each. */
export function byApp(
  figures: readonly AppFigures[],
): { all: AppFigures; countries: AppFigures[] }[] {
  const groups = Map.groupBy(figures, ({ appId, environment }) => `${environment}|${appId}`)
  return [...groups.values()].flatMap((countries) => {
    const [first, ...others] = countries
    return first ? [{ all: others.reduce(added, { ...first, country: '' }), countries }] : []
  })
}

const summedUp = [
  'sends',
  'refused',
  'locked',
  'due',
  'reached',
  'matured',
  'converted',
  'sendsSix',
  'weekSends',
  'weekRefused',
  'weekLocked',
  'weekMatured',
  'weekConverted',
  'users',
] as const

function added(one: AppFigures, other: AppFigures): AppFigures {
  const days = Map.groupBy([...one.days, ...other.days], ({ day }) => day)
  const sums = Object.fromEntries(summedUp.map((name) => [name, one[name] + other[name]]))
  return {
    ...one,
    ...(sums as Record<(typeof summedUp)[number], number>),
    oldest: Math.max(one.oldest, other.oldest),
    days: [...days].map(([day, same]) => ({
      day,
      hour: total(same, 'hour'),
      before: total(same, 'before'),
      half: total(same, 'half'),
    })),
  }
}

const total = (days: readonly DayFigures[], name: 'hour' | 'before' | 'half') =>
  days.reduce((sum, day) => sum + day[name], 0)
