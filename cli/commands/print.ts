/** What was done, for people: on standard error, so that what a program reads stands alone on standard output. */
export const say = (sentence: string): void => console.error(sentence)

/** One JSON value on standard output. */
export const printJson = (value: unknown): void => console.log(JSON.stringify(value, null, 2))

/** Of a list, more are not shown. */
export const mostListed = 10_000

/** The rows of a list that are shown, of `mostListed + 1` read; says so when there are more. */
export const shownOf = <Row>(rows: Row[]): Row[] => {
  if (rows.length > mostListed) say(`There are more: these are the first ${mostListed}.`)
  return rows.slice(0, mostListed)
}

/** Rows under their headings, in columns as wide as they need to be; nothing in a cell acts on the terminal. */
export const printTable = (headings: string[], rows: string[][]): void => {
  const table = [headings, ...rows.map((row) => row.map(visible))]
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

const visible = (cell: string): string =>
  cell.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
