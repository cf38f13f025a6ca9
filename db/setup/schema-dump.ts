import type { ClientBase } from 'pg'

/**
 * The schema `public` as statements of SQL, in a fixed order, so that two databases with equal tables give equal text:
 * types, sequences, functions, tables with their columns and constraints, indexes and triggers. Rights of roles are not in it:
 * they are in `grants.ts`.
 *
 * `pg_dump` would be the tool for it; npm's package of Postgres does not bring it, and one of another major version
 * refuses the server.
 */
export async function dumpSchema(client: ClientBase): Promise<string> {
  const parts: string[] = []
  for (const query of queries) {
    const { rows } = await client.query<{ text: string }>(query)
    parts.push(...rows.map(({ text }) => text))
  }
  return `${parts.join('\n\n')}\n`
}

const inPublic = `= 'public'::regnamespace`

const enums = `
  select format(E'create type %I as enum (\\n%s\\n);', t.typname,
           string_agg(format('  %L', e.enumlabel), E',\\n' order by e.enumsortorder)) as text
    from pg_type t join pg_enum e on e.enumtypid = t.oid
   where t.typnamespace ${inPublic}
   group by t.typname
   order by t.typname`

/** Those of `bigserial` columns are made with their tables. */
const sequences = `
  select format('create sequence %I;', c.relname) as text
    from pg_class c
   where c.relkind = 'S' and c.relnamespace ${inPublic}
     and not exists (select 1 from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))
   order by c.relname`

const functions = `
  select rtrim(pg_get_functiondef(p.oid), E' \\n') || ';' as text
    from pg_proc p
   where p.pronamespace ${inPublic}
   order by p.proname, pg_get_function_identity_arguments(p.oid)`

const tables = `
  select format(E'create table %I (\\n%s\\n);', c.relname, string_agg(line, E',\\n' order by kind, place, line)) as text
    from pg_class c
    cross join lateral (
      select 1 as kind, a.attnum::integer as place,
             format('  %I %s', a.attname, format_type(a.atttypid, a.atttypmod))
               || case when a.attnotnull then ' not null' else '' end
               || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as line
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      union all
      select 2, case k.contype when 'p' then 1 when 'u' then 2 when 'f' then 3 else 4 end,
             format('  constraint %I %s', k.conname, pg_get_constraintdef(k.oid))
        from pg_constraint k
       where k.conrelid = c.oid and k.contype <> 'n'
    ) lines
   where c.relkind in ('r', 'p') and c.relnamespace ${inPublic}
   group by c.relname
   order by c.relname`

/** Those of constraints are made with them. */
const indexes = `
  select pg_get_indexdef(i.indexrelid) || ';' as text
    from pg_index i join pg_class c on c.oid = i.indexrelid
   where c.relnamespace ${inPublic}
     and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
   order by i.indrelid::regclass::text, c.relname`

const triggers = `
  select pg_get_triggerdef(t.oid, true) || ';' as text
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
   where not t.tgisinternal and c.relnamespace ${inPublic}
   order by c.relname, t.tgname`

const queries = [enums, sequences, functions, tables, indexes, triggers]
