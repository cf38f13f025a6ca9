/** What was done, for people: on standard error, so that what a program reads stands alone on standard output. */
export const say = (sentence: string): void => console.error(sentence)

/** One JSON value on standard output. */
export const printJson = (value: unknown): void => console.log(JSON.stringify(value, null, 2))

/** Rows under their headings, in columns as wide as they need to be. */
export const printTable = (headings: string[], rows: string[][]): void => {
  const table = [headings, ...rows]
  const widths = headings.map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  )
  for (const row of table)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}
