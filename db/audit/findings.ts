export const findingKinds = [
  'edited',
  'swapped',
  'added',
  'deleted',
  'chain_deleted',
  'seal_deleted',
  'unsealed',
  'unknown_key',
  'root_missing',
  'root_broken',
  'root_late',
] as const

/** One thing that is wrong with the audit. */
export interface Finding {
  kind: (typeof findingKinds)[number]
  /** The request, `app:<id>` or `admin`; absent where the row is not known any more. */
  chain?: string
  /** The first row concerned. */
  sequence?: number
  /** One sentence for people. */
  message: string
}

export interface Findings {
  add(finding: Finding): void
  readonly count: number
}

/** More would not be read, and must not fill the memory. */
const remembered = 10_000

/** Passes each finding on once: what two looks see is one fact. */
export function createFindings(report: (finding: Finding) => void): Findings {
  const known = new Set<string>()
  let count = 0
  return {
    add(finding) {
      const key = JSON.stringify([finding.kind, finding.chain, finding.sequence ?? finding.message])
      if (finding.chain !== undefined && known.has(key)) return
      if (known.size < remembered) known.add(key)
      count++
      report(finding)
    },
    get count() {
      return count
    },
  }
}

/** Names a row, or several that follow each other. */
export const rowsNamed = (first: number, last: number): string =>
  first === last ? `row ${first}` : `rows ${first} to ${last}`
