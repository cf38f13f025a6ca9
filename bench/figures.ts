/** The value below which this share of them lies; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Lowest, middle and highest. */
export const spread = (values: readonly number[], digits = 2): string =>
  [0, 0.5, 1].map((share) => quantile(values, share).toFixed(digits)).join(' / ')

/** "p50 12 ms, p99 80 ms" */
export const latency = (values: readonly number[]): string =>
  `p50 ${quantile(values, 0.5).toFixed(0)} ms, p99 ${quantile(values, 0.99).toFixed(0)} ms`

/** Rows under a heading, as a Markdown table: what is printed is what the README holds. */
export function table(heading: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (cells: readonly unknown[]) => `| ${cells.join(' | ')} |`
  return [line(heading), line(heading.map(() => '---')), ...rows.map(line)].join('\n')
}

export const count = <T>(
  values: readonly T[],
  nameOf: (value: T) => string,
): [string, number][] => {
  const found = new Map<string, number>()
  for (const value of values) found.set(nameOf(value), (found.get(nameOf(value)) ?? 0) + 1)
  return [...found].sort(([one], [other]) => one.localeCompare(other))
}
