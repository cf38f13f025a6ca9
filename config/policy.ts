import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { z } from 'zod'
import { type JsonLines, JsonFault, readJsonLines } from './json-lines'
import { faultsBetween, type PolicyFault } from './policy-faults'
import { type Policy, PolicyFile, sections } from './policy-schema'
import { formerMode } from './protection-schema'
import shippedPolicy from './policy.json'

export type { Policy } from './policy-schema'

export type PolicyReading =
  /** `outdated`: places whose value belongs to an older version and is read as another one, one sentence each. */
  { success: true; policy: Policy; outdated: string[] } | { success: false; faults: string[] }

/** In characters: looking through a larger one every 2 s would keep a process from its work. */
const longest = 1_000_000
/** Where the shipped policy is, and what faults in it are told by. */
const shipped = { path: join(__dirname, 'policy.json'), name: 'config/policy.json' }

/** Reads and validates a policy file, or the shipped one; every fault is one sentence with its line and field. */
export function loadPolicy(path: string | undefined): PolicyReading {
  const text = readPolicyText(path)
  return text === undefined
    ? { success: false, faults: [`${path}: cannot be read`] }
    : readPolicy(text, fileNameOf(path))
}

/** How faults name a policy file, or the shipped one. */
export const fileNameOf = (path: string | undefined): string => path || shipped.name

/** The text of a policy file, or of the shipped one; undefined when it cannot be read. */
export function readPolicyText(path: string | undefined): string | undefined {
  const file = path || shipped.path
  try {
    // A pipe would be waited for.
    if (statSync(file).isFile()) return readFileSync(file, 'utf8')
    return undefined
  } catch {
    // A program in one piece brings the shipped one along.
    return path ? undefined : JSON.stringify(shippedPolicy, null, 2)
  }
}

/** Validates the text of a policy file; `file` is how faults name it. */
export function readPolicy(text: string, file: string): PolicyReading {
  const json = text.replace(/^\uFEFF/, '')
  if (json.length > longest)
    return { success: false, faults: [`${file}: is longer than ${longest / 1_000_000} MB`] }
  let lines: JsonLines
  try {
    lines = readJsonLines(json)
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
    return { success: false, faults: [`${file}:${error.line}: ${error.message}`] }
  }
  const raw: unknown = JSON.parse(json)
  const sentence = ({ path, message }: PolicyFault) =>
    `${file}:${lines.lineOf(path)}: ${path.join('.') || 'the file'}: ${message}`
  const twice = lines.repeated.map(
    ({ path, line }) => `${file}:${line}: ${path.join('.')}: is there twice`,
  )
  const faults = [...faultsIn(raw).map(sentence), ...twice]
  const { data } = PolicyFile.safeParse(raw)
  if (!data || faults.length > 0) return { success: false, faults: [...new Set(faults)] }
  const { $schema: _, ...policy } = data
  const outdated = outdatedIn(raw as z.input<typeof PolicyFile>).map(sentence)
  return { success: true, policy, outdated }
}

function outdatedIn({ protection = {} }: z.input<typeof PolicyFile>): PolicyFault[] {
  const changes = [
    { path: ['protection'], mode: protection.mode },
    ...(protection.overrides ?? []).map(({ mode }, index) => ({
      path: ['protection', 'overrides', index],
      mode,
    })),
  ]
  return changes.flatMap(({ path, mode }) =>
    Object.entries(mode ?? {})
      .filter(([, name]) => name === formerMode)
      .map(([keys]) => ({
        path: [...path, 'mode', keys],
        message: `there is no mode ${formerMode} any more: it is read as block`,
      })),
  )
}

/** Each section by itself, so that a fault in one does not hide those in the others. */
function faultsIn(raw: unknown): PolicyFault[] {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    return [{ path: [], message: 'must be an object' }]
  const given = new Map<string, unknown>(Object.entries(raw))
  const faults: PolicyFault[] = [...given.keys()]
    .filter((name) => !(name in sections))
    .map((name) => ({ path: [name], message: 'there is no such section' }))
  const wellFormed: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries<z.ZodType>(sections)) {
    const { data, error } = schema.safeParse(given.get(name))
    if (error) faults.push(...error.issues.flatMap((issue) => faultsOf(issue, name)))
    else wellFormed[name] = data
  }
  return [...faults, ...faultsBetween(wellFormed)]
}

/** An unknown field is told at its own line. */
function faultsOf(issue: z.core.$ZodIssue, section: string): PolicyFault[] {
  const path = [section, ...issue.path]
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }]
  return issue.keys.map((key) => ({ path: [...path, key], message: 'there is no such field' }))
}
