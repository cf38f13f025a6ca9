/**
 * A request's place between 0 and 1, always the same for the same id: what chance decides about a request can be
 * explained afterwards. FNV-1a, then the mixing steps of MurmurHash3, without which like ids give like numbers.
 */
export function shareOf(requestId: string): number {
  let hash = 0x81_1c_9d_c5
  for (let i = 0; i < requestId.length; i++)
    hash = Math.imul(hash ^ requestId.charCodeAt(i), 0x01_00_01_93)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

/**
 * Orders names by chance after their weights: each place is drawn among those that are left. Those of weight 0 come
 * last, in their order.
 * @param share from 0 to less than 1
 */
export function orderByWeight(
  weights: readonly (readonly [name: string, weight: number])[],
  share: number,
): string[] {
  const left = [...weights]
  const ordered: string[] = []
  let rest = share
  while (left.length > 0) {
    const total = left.reduce((sum, [, weight]) => sum + weight, 0)
    if (total === 0) return [...ordered, ...left.map(([name]) => name)]
    let mark = rest * total
    let place = left.findIndex(([, weight]) => mark < weight || ((mark -= weight), false))
    // Rounding may leave a mark past the end.
    if (place === -1) place = left.findLastIndex(([, weight]) => weight > 0)
    const [[name, weight] = ['', 1]] = left.splice(place, 1)
    ordered.push(name)
    // Where in its share the mark fell is as much by chance as the mark itself was.
    rest = Math.min(Math.max(mark / weight, 0), 1 - Number.EPSILON)
  }
  return ordered
}
