import { drawAddress, drawNumber, type Home } from './numbers'
import type { Random } from './random'
import type { TrafficEvent } from './event'

const minuteMs = 60_000
const dayMs = 86_400_000
const lifetimeMs = 300_000

/** Real users of one app. */
export interface Population {
  app: string
  /** Countries with their share of the users. */
  countries: Partial<Record<Home, number>>
  perDay: number
  days: number
  /** The first of their sends; midnight. */
  from: number
  /** The share of sends by people who were never there. */
  newShare?: number
  /** What numbers begin with after the country's code: of one operator, or in a few ranges only. */
  starts?: readonly string[]
  /** So many times as many sends for a while. */
  spikes?: readonly { at: number; minutes: number; times: number }[]
  /** Nobody's message arrives. */
  outages?: readonly { at: number; minutes: number }[]
  /** Addresses of a country's carriers that many share. */
  carrierAddresses?: number
  /** The share of messages that arrive; 0.97 when absent. */
  arrival?: number
  /** All of them come from this address. */
  office?: string
  /** Users' IP addresses and devices are told with the send; true when absent. */
  isTold?: boolean
}

interface User {
  phone: string
  ip: string
  device: string
  /** How likely a message leads to a code typed in. */
  conversion: number
}

/** Few at night, most in the afternoon. */
const hourly = (atMs: number): number =>
  1 + 0.75 * Math.cos((2 * Math.PI * ((atMs % dayMs) / 3_600_000 - 15)) / 24)

/** Everything that the users of an app do, in any order. */
export function usersOf(random: Random, population: Population): TrafficEvent[] {
  const events: TrafficEvent[] = []
  const draw = drawerOf(random, population)
  const known: User[] = []
  const { from, days, perDay, newShare = 0.5, spikes = [] } = population
  for (let minute = from; minute < from + days * dayMs; minute += minuteMs) {
    const spike = spikes.find(({ at, minutes }) => minute >= at && minute < at + minutes * minuteMs)
    const mean = (perDay / 1440) * hourly(minute) * (spike?.times ?? 1)
    for (let count = random.poisson(mean); count > 0; count--) {
      const isNew = known.length === 0 || random.chance(newShare)
      const user = isNew ? draw() : random.pick(known)
      if (isNew) known.push(user)
      visit(random, { events, population, user, at: minute + random.below(minuteMs) })
    }
  }
  return events
}

/** Makes people: more than half of them share an address of their carrier, some that of an office. */
function drawerOf(random: Random, { countries, starts, office, carrierAddresses = 4 }: Population) {
  const weighted = Object.entries(countries).flatMap(([country, weight]) =>
    Array.from({ length: weight }, () => country as Home),
  )
  const conversions = new Map(weighted.map((country) => [country, 0.8 + 0.12 * random.next()]))
  const carriers = new Map(
    weighted.map((country) => [
      country,
      Array.from({ length: carrierAddresses }, () => drawAddress(random)),
    ]),
  )
  const offices = Array.from({ length: 12 }, () => drawAddress(random))
  let count = 0
  return (): User => {
    const country = random.pick(weighted)
    const kind = random.next()
    const shared = kind < 0.55 ? carriers.get(country) : kind < 0.65 ? offices : undefined
    return {
      phone: drawNumber(random, country, starts),
      ip: office ?? (shared ? random.pick(shared) : drawAddress(random)),
      device: `device-${++count}-${random.below(1e9)}`,
      conversion: conversions.get(country) ?? 0.85,
    }
  }
}

interface Visit {
  events: TrafficEvent[]
  population: Population
  user: User
  at: number
}

/** One login: a send, the code typed in or not, and for some a resend. */
function visit(random: Random, { events, population, user, at }: Visit): void {
  const { app, outages = [], isTold = true, arrival = 0.97 } = population
  const id = `u${events.length}-${random.below(1e9)}`
  const about = { id, app, phone: user.phone, truth: 'user' as const }
  const who = isTold ? { ip: user.ip, device: user.device } : {}
  const isOut = (t: number) =>
    outages.some((outage) => t >= outage.at && t < outage.at + outage.minutes * minuteMs)
  let sentAt = at
  for (let tries = 0; tries < 3; tries++) {
    events.push({ ...about, ...who, t: sentAt, type: 'send' })
    const arrives = !isOut(sentAt) && random.chance(arrival)
    // Some messages come when the user has long looked away.
    const transit = random.chance(0.04)
      ? random.lognormal(150_000, 0.5)
      : random.lognormal(5_000, 0.5)
    if (arrives) {
      const status = 'delivered'
      events.push({ ...about, t: sentAt + Math.round(transit), type: 'receipt', status })
    }
    const typedAt = sentAt + Math.round(transit + random.lognormal(20_000, 0.6))
    if (arrives && random.chance(user.conversion) && typedAt - at < lifetimeMs) {
      if (random.chance(0.06))
        events.push({ ...about, t: typedAt - 4_000, type: 'verify', ok: false })
      events.push({ ...about, t: typedAt, type: 'verify', ok: true })
      return
    }
    if (!random.chance(arrives ? 0.35 : 0.7)) return
    sentAt += 30_000 + random.below(60_000)
  }
}
