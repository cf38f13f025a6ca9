import { type GetColumnData, is, Param, Placeholder, type Query, type SQL, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/pg-proxy'
import { type PgColumn, PgDialect } from 'drizzle-orm/pg-core'
import { z } from 'zod'

/** In the builder of a statement: what stands in its text for each of its parameters. */
export type Named<Params> = { readonly [Name in keyof Params]-?: SQL<Params[Name]> }

/** A statement with the values of its parameters, ready to be run. */
export interface Bound<Row> {
  readonly name: string
  /** Its text is not a constant: it is sent without being prepared under its name. */
  readonly isVarying?: boolean
  readonly text: string
  readonly values: readonly unknown[]
  /** Checks rows where that is asked for; what the driver gave is what callers get. */
  readonly row: z.ZodType<Row>
}

/** `Given`, unless it has a member that `Params` lacks: then nothing has this type. */
type Exactly<Params, Given> = Given & { [Surplus in Exclude<keyof Given, keyof Params>]: never }

/** Binds the values of its parameters: each of them, and no other. */
export type Statement<Params extends object, Row> = <Given extends Params>(
  params: Exactly<Params, Given>,
) => Bound<Row>

/** The schema of a statement that gives no rows. */
export const NoRow = z.never()

/** The schema of a row that only names what was found or changed. */
export const IdRow = z.strictObject({ id: z.string() })

/** A row is not of its schema. The message names statement and column, never a value. */
export class RowFault extends Error {
  constructor(statement: string, { issues }: z.ZodError) {
    const columns = issues.map(({ path, message }) => `${path.join('.') || 'row'}: ${message}`)
    super(`A row of the statement ${statement} is not of its schema: ${columns.join('; ')}`)
    this.name = 'RowFault'
  }
}

const dialect = new PgDialect()
const names = new Set<string>()
/** Postgres cuts longer names off, after which two may be one. */
const nameShape = /^[a-z][a-z0-9_]{0,62}$/

/**
 * A constant statement: its text is built once, when its module is loaded, and Postgres parses and plans it once per
 * connection (`Parse` under this name, then only `Bind` and `Execute`). Its name stands in the text too, as a comment
 * behind the first word, where pg_stat_statements keeps it.
 *
 * - `text` gets the parameters by name. Any other value in it is a constant and written into the text, so that it may
 *   meet the predicate of a partial index.
 * - After five executions Postgres may plan for any value at once (`plan_cache_mode = auto`). So a condition that is
 *   there or not, as in searches and lists, makes a statement for each combination, or stays unnamed `sql`.
 * - Columns are listed, never `*` in the final select: a migration that adds one must not change the type of the result.
 * @param name unique in the program, words in snake case
 * @param row of one row as the driver gives it: `int8` and `numeric` are text, `timestamptz` is a Date. Not a transform:
 *   where rows are trusted nothing is parsed
 * @throws for a name that is taken, and for a constant that is no scalar
 */
export function statement<Params extends object, Row>(
  name: string,
  row: z.ZodType<Row, Row>,
  text: (named: Named<Params>) => SQL,
): Statement<Params, Row> {
  takeName(name)
  const built = text(placeholders<Params>())
  refuseLists(name, dialect.sqlToQuery(built).params)
  return binder(name, row, dialect.sqlToQuery(sql`${built}`.inlineParams()))
}

/** What drizzle's typed queries are built from. It has no connection, so that a query is only sent by its name. */
const builder = drizzle(() => Promise.reject(new Error('A typed query is sent by its name.')))
type Built = PromiseLike<unknown> & { toSQL(): Query }

/** The rows of a typed query; it has none without `returning`. */
type RowOf<Q> = Awaited<Q> extends readonly (infer Row)[] ? Row : never

/**
 * A plain read or write as a constant statement, by drizzle's typed queries: tables, columns and rows are those of
 * `db/schema`, so nothing is cast and no schema of rows is written. What a promise about concurrency depends on is
 * written as SQL instead, see {@link statement}.
 * @param name as of a statement
 * @param build gets the parameters by name; what it selects or returns is written with {@link columns}
 */
export function query<Params extends object, Q extends Built>(
  name: string,
  build: (named: Named<Params>, db: typeof builder) => Q,
): Statement<Params, RowOf<Q>> {
  takeName(name)
  const built = build(placeholders<Params>(), builder).toSQL()
  return binder(name, z.custom<RowOf<Q>>(), built)
}

/**
 * A plain read or write whose text depends on what it is given, such as the columns that a change sets: named in logs and
 * figures, and not prepared.
 */
export function varying<Q extends Built>(
  name: string,
  build: (db: typeof builder) => Q,
): Bound<RowOf<Q>> {
  const { sql: text, params } = build(builder).toSQL()
  const row = z.custom<RowOf<Q>>()
  return { name, isVarying: true, text: markedWith(name, text), values: params, row }
}

/** Columns under the names that rows have in TypeScript. */
export const columns = <Fields extends Record<string, PgColumn>>(fields: Fields) =>
  Object.fromEntries(
    Object.entries(fields).map(([key, column]) => [key, sql`${column}`.as(key)]),
  ) as { [Key in keyof Fields]: SQL.Aliased<GetColumnData<Fields[Key]>> }

function takeName(name: string): void {
  if (!nameShape.test(name) || names.has(name))
    throw new Error(`A statement cannot be called ${name}: taken, or not in snake case.`)
  names.add(name)
}

function binder<Params extends object, Row>(
  name: string,
  row: z.ZodType<Row, Row>,
  { sql: text, params }: Query,
): Statement<Params, Row> {
  const known = new Set(params.flatMap((param) => placeholderIn(param)?.name ?? []))
  const marked = markedWith(name, text)
  return (given) => {
    const surplus = Object.keys(given).filter((key) => !known.has(key))
    if (surplus.length > 0) throw new Error(`The statement ${name} does not use ${surplus.join()}.`)
    return { name, text: marked, values: params.map(valueFrom(given)), row }
  }
}

/** Behind its first word, where Postgres's own figures keep it; a comment of ours may come before that. */
const markedWith = (name: string, text: string): string =>
  text
    .replace(/^(?:\s+|--.*\n)*/, '')
    .replace(/^\w+/, (verb) => `${verb} /* ${name} */`)
    .trim()

const placeholderIn = (param: unknown): Placeholder | undefined => {
  const inner = is(param, Param) ? param.value : param
  return is(inner, Placeholder) ? inner : undefined
}

/** What is sent for a parameter of the text: a constant, or what was given, as its column encodes it. */
const valueFrom =
  (given: object) =>
  (param: unknown): unknown => {
    const placeholder = placeholderIn(param)
    if (!placeholder) return param
    const value: unknown = Reflect.get(given, placeholder.name)
    return is(param, Param) && value !== null && value !== undefined
      ? param.encoder.mapToDriverValue(value)
      : value
  }

const placeholders = <Params>(): Named<Params> =>
  new Proxy({} as Named<Params>, {
    get: (_, name) => sql`${sql.placeholder(String(name))}`,
  })

/** Written into a text, a list would lose its form. */
function refuseLists(name: string, params: readonly unknown[]): void {
  const isScalar = (value: unknown) => value === null || typeof value !== 'object'
  if (!params.every((param) => is(param, Placeholder) || isScalar(param)))
    throw new Error(`The statement ${name} has a constant that is no scalar: write it as SQL.`)
}

const failed = new WeakMap<Error, string>()

/** Notes which statement an error came from, for the log. */
export function blame(error: unknown, { name }: Pick<Bound<unknown>, 'name'>): void {
  if (error instanceof Error) failed.set(error, name)
}

/** The name of the statement that an error came from; undefined for any other error. */
export const statementOf = (error: Error): string | undefined => failed.get(error)

/** @throws {RowFault} */
export function checkRows<Row>({ name, row }: Bound<Row>, rows: readonly unknown[]): void {
  for (const each of rows) {
    const { error } = row.safeParse(each)
    if (error) throw new RowFault(name, error)
  }
}
