/** Random values that are the same for the same seed, on every machine. */
export interface Random {
  /** From 0 to below 1. */
  next(): number
  /** A whole number from 0 to below `n`. */
  below(n: number): number
  chance(share: number): boolean
  pick<T>(list: readonly T[]): T
  /** Around `median`, most within a factor of e^sigma. */
  lognormal(median: number, sigma: number): number
  /** How often something happens that happens `mean` times on average. */
  poisson(mean: number): number
}

/** 32 bits of a text (FNV-1a). */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0
  return hash
}

/** Beyond this a Poisson count is drawn as the normal one that it is by then. */
const manyAtOnce = 30

/** A generator of its own for each name and seed: what one draws changes nothing for the others (splitmix32). */
export function randomOf(name: string, seed: number): Random {
  let state = hashOf(`${seed}|${name}`)
  const next = (): number => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
  const below = (n: number) => Math.floor(next() * n)
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
  const few = (mean: number): number => {
    const limit = Math.exp(-mean)
    let count = 0
    for (let product = next(); product > limit; product *= next()) count++
    return count
  }
  return {
    next,
    below,
    chance: (share) => next() < share,
    pick: (list) => {
      const picked = list[below(list.length)]
      if (picked === undefined) throw new Error('Nothing can be picked from an empty list.')
      return picked
    },
    lognormal: (median, sigma) => median * Math.exp(sigma * normal()),
    poisson: (mean) =>
      mean < manyAtOnce ? few(mean) : Math.max(0, Math.round(mean + Math.sqrt(mean) * normal())),
  }
}
