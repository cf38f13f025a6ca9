const usualSize = 50

/** Reads one row more than the page holds: where there is one, `next` is the row after which the next page begins. */
export async function readPage<Row>(
  size: number = usualSize,
  read: (limit: number) => Promise<Row[]>,
): Promise<{ rows: Row[]; next: Row | undefined }> {
  const found = await read(size + 1)
  const rows = found.slice(0, size)
  return { rows, next: found.length > size ? rows.at(-1) : undefined }
}
