import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

export type Variables = Record<string, string>

/** Reads what {@link writeVariables} wrote: one NAME=value a line, quoted or not. */
export const readVariables = (file: string): Variables => {
  const found: Variables = {}
  if (!existsSync(file)) return found
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? []
    if (name !== undefined && value !== undefined)
      found[name] = value.replace(/^(['"])(.*)\1$/, '$2')
  }
  return found
}

/** Only such quoting as dotenv and a POSIX shell understand alike. */
const quote = (name: string, value: string): string => {
  if (/^[\w./:@%+=-]*$/.test(value)) return value
  if (!/['\n]/.test(value)) return `'${value}'`
  if (!/["$`\\\n]/.test(value)) return `"${value}"`
  throw new Error(
    `The value of ${name} has both kinds of quotes or a line break: percent-encode them.`,
  )
}

/** Writes the file in one piece, readable by its owner only. */
export const writeVariables = (file: string, comment: string, variables: Variables): void => {
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${quote(name, value)}`)
  writeFileSync(`${file}.new`, [`# ${comment}`, ...lines, ''].join('\n'), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
