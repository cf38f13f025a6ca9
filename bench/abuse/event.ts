import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { z } from 'zod'

const absent = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined)
const text = z.union([z.string().min(1), z.number().transform(String)])

/** What both this program and Postgres can write as a date: the years 70 to 9889. */
const earliest = -6e13
const latest = 2.5e14
const outOfTime = 'no time in milliseconds: it is out of all years'

/** What one line must hold; members beside these are left alone. */
const Line = z
  .object({
    t: z.number().min(earliest, outOfTime).max(latest, outOfTime),
    type: z.enum(['send', 'verify', 'receipt']),
    id: text,
    app: absent(text).transform((app) => app ?? 'app'),
    phone: text,
    ip: absent(z.string()),
    device: absent(text),
    country: absent(z.string()),
    ok: absent(z.boolean()),
    solves: absent(z.boolean()),
    // Nothing reads it.
    status: absent(text),
    truth: z.enum(['user', 'attack']),
    scenario: absent(text),
  })
  .refine(({ type, ok }) => type !== 'verify' || ok !== undefined, {
    path: ['ok'],
    message: 'a verify says whether its code was right: true or false',
  })

/** Something that happened. */
export interface TrafficEvent {
  /** Milliseconds since any moment. */
  t: number
  type: 'send' | 'verify' | 'receipt'
  /** A verify and a receipt have that of their send; a send that has one of before is a resend. */
  id: string
  app: string
  phone: string
  /** Of the end user. */
  ip?: string | undefined
  device?: string | undefined
  country?: string | undefined
  /** Of a verify: whether the code was right. */
  ok?: boolean | undefined
  /** Of a send of an attack: its sender solves challenges. Users always do. */
  solves?: boolean | undefined
  status?: string | undefined
  truth: 'user' | 'attack'
  /** Which attack it belongs to. */
  scenario?: string | undefined
}

const faultsShown = 5

/** Lines that are no events. */
export class BadLines extends Error {
  override name = 'BadLines'
}

/**
 * Reads events, one JSON object a line, and puts them in the order of their time; equal times stay as they came.
 * @throws {BadLines} that names the lines and what is wrong with them
 */
export async function readEvents(
  lines: AsyncIterable<string> | Iterable<string>,
): Promise<TrafficEvent[]> {
  const events: TrafficEvent[] = []
  const faults: string[] = []
  let number = 0
  for await (const line of lines) {
    number++
    // `trim` takes a byte order mark away too.
    const json = line.trim()
    const fault = json === '' ? undefined : readLine(json, events)
    if (fault !== undefined) faults.push(`line ${number}: ${fault}`)
  }
  if (faults.length > 0) {
    const more = faults.length - faultsShown
    const shown = faults.slice(0, faultsShown)
    throw new BadLines([...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'))
  }
  if (events.length === 0) throw new BadLines('There is no event in it.')
  return events.toSorted((one, other) => one.t - other.t)
}

/** @returns what is wrong with the line */
function readLine(line: string, events: TrafficEvent[]): string | undefined {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    return 'no JSON'
  }
  const { success, data, error } = Line.safeParse(json)
  if (success) {
    events.push(data)
    return undefined
  }
  return error.issues
    .map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
    .join('; ')
}

/** The events of a file. */
export const readEventFile = (path: string): Promise<TrafficEvent[]> =>
  readEvents(createInterface({ input: createReadStream(path), crlfDelay: Infinity }))
