/** Where things stand in a JSON text. */
export interface JsonLines {
  /** The line of a member or element, else of the nearest thing around it; from 1. */
  lineOf(path: readonly PropertyKey[]): number
  /** Members named twice in one object, of which JSON keeps the last. */
  repeated: { path: string[]; line: number }[]
}

/** What is no JSON, and where. */
export class JsonFault extends Error {
  override name = 'JsonFault'
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message)
  }
}

/** Everything from a blank on may stand in it, but for quotes and backslashes. */
const string = /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y
const literal = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y
const blank = /[ \t\r\n]*/y
/** Far more than any text that is read here needs: one that goes on and on would use up the stack. */
const deepest = 32

/** Goes through a text from sign to sign. */
function scannerOf(text: string) {
  let at = 0
  let line = 1
  let lineEnd = text.indexOf('\n')
  /** The line of where it is. */
  const here = (): number => {
    for (; lineEnd !== -1 && lineEnd < at; line++) lineEnd = text.indexOf('\n', lineEnd + 1)
    return line
  }
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    at += found?.length ?? 0
    return found
  }
  const skip = (sign: string): boolean => {
    take(blank)
    if (text[at] !== sign) return false
    at++
    take(blank)
    return true
  }
  const fail = (message: string): never => {
    throw new JsonFault(here(), message)
  }
  return { here, take, skip, fail, isAtEnd: () => at >= text.length }
}

const keyOf = (path: readonly PropertyKey[]): string => JSON.stringify(path.map(String))

/**
 * Walks through a JSON text and notes the line of everything in it.
 * @throws {JsonFault} where it is no JSON
 */
export function readJsonLines(text: string): JsonLines {
  const lines = new Map<string, number>()
  const repeated: JsonLines['repeated'] = []
  const { here, take, skip, fail, isAtEnd } = scannerOf(text)

  function value(path: string[]): void {
    take(blank)
    if (path.length > deepest) fail('is nested too deeply here')
    if (!lines.has(keyOf(path))) lines.set(keyOf(path), here())
    if (skip('{')) return members(path)
    if (skip('[')) return elements(path)
    if (take(string) === undefined && take(literal) === undefined)
      fail(isAtEnd() ? 'the file ends too early' : 'is not valid JSON here')
  }

  function members(path: string[]): void {
    if (skip('}')) return
    do {
      const line = here()
      const name = take(string) ?? fail('a name in double quotes is missing here')
      const own = [...path, JSON.parse(name) as string]
      if (lines.has(keyOf(own))) repeated.push({ path: own, line })
      lines.set(keyOf(own), line)
      if (!skip(':')) fail('a colon is missing here')
      value(own)
    } while (skip(','))
    if (!skip('}')) fail('a comma or } is missing here')
  }

  function elements(path: string[]): void {
    if (skip(']')) return
    let index = 0
    do value([...path, String(index++)])
    while (skip(','))
    if (!skip(']')) fail('a comma or ] is missing here')
  }

  value([])
  take(blank)
  if (!isAtEnd()) fail('there is more after the end')
  const lineOf = (path: readonly PropertyKey[]): number =>
    lines.get(keyOf(path)) ?? (path.length > 0 ? lineOf(path.slice(0, -1)) : 1)
  return { lineOf, repeated }
}
