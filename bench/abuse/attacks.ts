import type { TrafficEvent } from './event'
import { drawAddress } from './numbers'
import type { Random } from './random'

/** In which order the numbers of a block are sent to. */
export type NumberOrder = 'random' | 'sequential' | 'shuffled' | 'stride'

/** Pumped traffic: messages that are asked for, and codes that never come back. */
export interface Attack {
  scenario: string
  app: string
  /** The first send. */
  at: number
  /** How many sends, and the time between them in milliseconds, on average. */
  count: number
  everyMs: number
  /** Numbers without their last four digits; or whole numbers, made anew for each send. */
  blocks: readonly string[] | (() => string)
  /** Blocks in turn, by chance, or one after the other, so many sends each. */
  turn?: 'round' | 'chance' | number
  order?: NumberOrder
  /** Of each block, only so many numbers: they are sent to again and again. */
  numbers?: number
  /** How many addresses and devices it comes from: a new one for each send when absent; 0: none is told. */
  ips?: number
  devices?: number
  /** How many of its codes the attacker types in, of their own numbers. */
  verifiedShare?: number
  /** Solves challenges, as users do. */
  solves?: boolean
  /** Sends for so long, then waits so long. */
  pulse?: { onMs: number; offMs: number }
}

const blockSize = 10_000

/** Prime to the size of a block, so that every number comes once. */
const jumps: Record<Exclude<NumberOrder, 'random'>, number> = {
  sequential: 1,
  stride: 7,
  shuffled: 6_337,
}

export function attackOf(random: Random, attack: Attack): TrafficEvent[] {
  const { scenario, app, count, everyMs, pulse, verifiedShare = 0, solves = false } = attack
  const events: TrafficEvent[] = []
  const nextNumber = numbersOf(random, attack)
  const ip = poolOf(attack.ips, () => drawAddress(random))
  const device = poolOf(attack.devices, () => `bot-${random.below(1e9)}`)
  let at = attack.at
  for (let sent = 0; sent < count; sent++) {
    const t = Math.round(at)
    const about = {
      ...{ id: `${scenario}-${app}-${sent}`, app, phone: nextNumber(sent) },
      ...{ truth: 'attack' as const, scenario },
    }
    const who = { ip: ip(sent), device: device(sent), ...(solves && { solves }) }
    events.push({ ...about, ...who, t, type: 'send' })
    if (random.chance(verifiedShare))
      events.push({ ...about, t: t + 12_000 + random.below(20_000), type: 'verify', ok: true })
    at += everyMs * (0.5 + random.next())
    if (pulse && (at - attack.at) % (pulse.onMs + pulse.offMs) > pulse.onMs) {
      const period = pulse.onMs + pulse.offMs
      at = attack.at + Math.ceil((at - attack.at) / period) * period
    }
  }
  return events
}

/** So many values in turn, a new one each time, or none. */
function poolOf(size: number | undefined, make: () => string) {
  const pool = Array.from({ length: size ?? 0 }, make)
  return (turn: number): string | undefined =>
    size === undefined ? make() : pool[turn % Math.max(size, 1)]
}

function numbersOf(random: Random, attack: Attack): (sent: number) => string {
  const { blocks, turn = 'round', order = 'random', numbers = blockSize } = attack
  if (typeof blocks === 'function') return blocks
  const begins = blocks.map(() => random.below(blockSize))
  const taken = blocks.map(() => 0)
  return (sent) => {
    const index =
      turn === 'chance'
        ? random.below(blocks.length)
        : Math.floor(sent / (turn === 'round' ? 1 : turn)) % blocks.length
    const nth = (taken[index] ?? 0) % numbers
    taken[index] = nth + 1
    const begin = begins[index] ?? 0
    const isDrawn = order === 'random' && numbers === blockSize
    const last = isDrawn
      ? random.below(blockSize)
      : (begin + nth * jumps[order === 'random' ? 'shuffled' : order]) % blockSize
    return `${blocks[index]}${String(last).padStart(4, '0')}`
  }
}

/** Numbers of the attacker's own: one code of each is typed in, and then messages are asked for in vain. */
export interface Ring extends Pick<Attack, 'scenario' | 'app' | 'at' | 'solves'> {
  numbers: readonly string[]
  /** From the code that came back to the first message in vain, in milliseconds. */
  restMs: number
  /** Messages in vain: to each number in turn, the time between two of them in milliseconds, on average. */
  count: number
  everyMs: number
}

export function ringOf(
  random: Random,
  { scenario, app, at, numbers, restMs, count, everyMs, solves = false }: Ring,
): TrafficEvent[] {
  const truth = 'attack' as const
  const send = (id: string, phone: string, t: number): TrafficEvent => ({
    ...{ id, app, phone, t: Math.round(t), type: 'send', truth, scenario },
    ...{ ip: drawAddress(random), device: `bot-${random.below(1e9)}`, ...(solves && { solves }) },
  })
  // As users come, so that the first codes are nobody's attack.
  const opening = numbers.flatMap((phone, nth): TrafficEvent[] => {
    const id = `${scenario}-${app}-own-${nth}`
    const t = at + nth * 240_000 + random.below(120_000)
    return [
      send(id, phone, t),
      { id, app, phone, t: t + 15_000, type: 'verify', ok: true, truth, scenario },
    ]
  })
  const begin = at + numbers.length * 240_000 + restMs
  let t = begin
  const pumping = Array.from({ length: count }, (_, nth) => {
    t += everyMs * (0.5 + random.next())
    return send(`${scenario}-${app}-${nth}`, numbers[nth % numbers.length] ?? '', t)
  })
  return [...opening, ...pumping]
}

/** Wrong codes, few for each number, so that no number's own budget notices. */
export interface Spray {
  scenario: string
  /** Sends that are guessed at: the attacker's own, or those of users. */
  at: readonly TrafficEvent[]
  perNumber: number
}

export const sprayOf = (random: Random, { scenario, at, perNumber }: Spray): TrafficEvent[] =>
  at.flatMap(({ id, app, phone, t }) =>
    Array.from({ length: perNumber }, (_, guess) => ({
      ...{ id, app, phone, type: 'verify' as const, ok: false },
      ...{ t: t + 2_000 + guess * 1_500 + random.below(1_000), truth: 'attack' as const, scenario },
    })),
  )
