/**
 * Durations counted in buckets that grow by a tenth each: what is read from one is right within 5 %, and histograms of
 * several hours add up. A bucket's number is the least n with `growth ** n >= milliseconds`.
 */
export const growth = 1.1

/** Counts by the bucket's number. */
export type Histogram = Readonly<Record<string, number>>

/** The duration in milliseconds that this share (0 to 1) of all was not longer than; undefined without any. */
export function percentile(histogram: Histogram, share: number): number | undefined {
  const buckets = Object.entries(histogram)
    .map(([bucket, count]) => ({ bucket: Number(bucket), count }))
    .sort((one, other) => one.bucket - other.bucket)
  const all = buckets.reduce((sum, { count }) => sum + count, 0)
  let left = Math.ceil(all * share)
  for (const { bucket, count } of buckets) {
    left -= count
    if (left <= 0) return Math.round(growth ** (bucket - 0.5))
  }
  return undefined
}
