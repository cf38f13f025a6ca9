import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import pg from 'pg'

/** Who owns the tables, who may change them, and who the service is: three roles, so that the service cannot rewrite its audit. */
export const roles = {
  owner: 'otpilot_owner',
  migrator: 'otpilot_migrator',
  app: 'otpilot_app',
} as const

/** Each object of ours, or of Temporal's databases, that somebody else owns, as the statement that hands it over. */
export const handOverTo = (owner: string): string => `
  with ours as (select oid, nspname from pg_namespace where nspname in ('public', 'drizzle')),
  free as (
    -- Sequences of a table's column follow it, and what an extension brought belongs to it.
    select objid, classid from pg_depend where deptype = 'e'
      or (deptype in ('a', 'i') and classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass)
  )
  select format('alter %s %I.%I owner to ${owner}', case relkind when 'S' then 'sequence' when 'v' then 'view'
      when 'm' then 'materialized view' else 'table' end, nspname, relname) as statement
    from pg_class join ours on ours.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'S') and relowner <> '${owner}'::regrole
      and (pg_class.oid, 'pg_class'::regclass::oid) not in (select objid, classid from free)
  union all
  select format('alter type %I.%I owner to ${owner}', nspname, typname)
    from pg_type join ours on ours.oid = typnamespace
    where typtype in ('e', 'd') and typowner <> '${owner}'::regrole
      and (pg_type.oid, 'pg_type'::regclass::oid) not in (select objid, classid from free)
  union all
  select format('alter routine %s owner to ${owner}', pg_proc.oid::regprocedure)
    from pg_proc join ours on ours.oid = pronamespace
    where proowner <> '${owner}'::regrole
      and (pg_proc.oid, 'pg_proc'::regclass::oid) not in (select objid, classid from free)
  union all
  select 'alter schema drizzle owner to ${owner}' from pg_namespace
    where nspname = 'drizzle' and nspowner <> '${owner}'::regrole`

/**
 * Makes the three roles where they are missing, sets the passwords given, and hands the database and all that is in
 * it to the owner; rows stay as they are. Run by a superuser, as often as one likes, before {@link migrate}.
 */
export async function separateRoles(
  superuserUrl: string,
  passwords: { app: string; migrator?: string },
): Promise<void> {
  const client = new pg.Client({
    connectionString: superuserUrl,
    connectionTimeoutMillis: 5_000,
    lock_timeout: 10_000,
  })
  await client.connect()
  try {
    await client.query('begin')
    await makeRoles(client, passwords)
    await takeOver(client)
    await client.query('commit')
  } finally {
    await client.end()
  }
}

async function makeRoles(
  client: pg.Client,
  { app, migrator }: { app: string; migrator?: string },
): Promise<void> {
  const { rows } = await client.query<{ rolname: string }>(
    'select rolname from pg_roles where rolname = any($1)',
    [Object.values(roles)],
  )
  const known = new Set(rows.map(({ rolname }) => rolname))
  for (const role of Object.values(roles))
    if (!known.has(role)) await client.query(`create role ${role}`)
  const plain = 'nosuperuser nocreatedb nocreaterole noreplication nobypassrls noinherit'
  await client.query(`alter role ${roles.owner} nologin ${plain}`)
  await client.query(
    `alter role ${roles.app} login ${plain} password ${client.escapeLiteral(scramVerifier(app))}`,
  )
  await client.query(`alter role ${roles.migrator} ${migrator ? 'login' : 'nologin'} ${plain}`)
  if (migrator)
    await client.query(
      `alter role ${roles.migrator} password ${client.escapeLiteral(scramVerifier(migrator))}`,
    )
  await client.query(`grant ${roles.owner} to ${roles.migrator}`)
}

async function takeOver(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>('select current_database() as name')
  const database = client.escapeIdentifier(rows[0]?.name ?? '')
  await client.query(`alter database ${database} owner to ${roles.owner}`)
  await client.query(`revoke create, temporary on database ${database} from public`)
  await client.query(
    `grant connect on database ${database} to ${roles.app}, ${roles.migrator}, ${roles.owner}`,
  )
  // A database from before Postgres 15 may still let everybody make tables.
  await client.query('alter schema public owner to pg_database_owner')
  await client.query('revoke create on schema public from public')
  const { rows: statements } = await client.query<{ statement: string }>(handOverTo(roles.owner))
  for (const { statement } of statements) await client.query(statement)
}

const rounds = 4096

/** What Postgres would make of the password itself: so no statement, and no log of one, ever holds it. */
export function scramVerifier(password: string): string {
  const salt = randomBytes(16)
  const salted = pbkdf2Sync(password, salt, rounds, 32, 'sha256')
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest()
  const stored = createHash('sha256').update(hmac('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${rounds}:${salt.toString('base64')}$${stored}:${hmac('Server Key').toString('base64')}`
}

/** Whether this database was handed over by {@link separateRoles}. */
export async function isSeparated(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ owner: string }>(
    'select pg_get_userbyid(datdba) as owner from pg_database where datname = current_database()',
  )
  return rows[0]?.owner === roles.owner
}
