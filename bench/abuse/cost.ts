import { sql } from 'drizzle-orm'
import { randomId } from '../../codes/random-id'
import { rowsOf, scopesOf } from '../../core/protection/scopes'
import { createDatabase, type Database } from '../../db'
import { createApp } from '../../db/apps/apps'
import { guardSend } from '../../db/protection/guard'
import { quantile, spread, table } from '../figures'
import { machineFacts } from '../machine'
import { type Ground, openGround } from './ground'
import { drawAddress, drawNumber } from './numbers'
import { randomOf } from './random'

// What does it cost to decide on a send? Beside a guarded UPDATE of one row, and with little and much traffic behind it;
// all in turns in one run, each in a transaction of its own that is committed to the disk.

const app = 'bench'
const sizes = { few: 10_000, many: 1_000_000 } as const
const rounds = 7
const samples = 300
const warmUp = 200

/** Postgres as it comes: what is measured is what a commit costs. */
const settings = {}

type Subject = 'update' | keyof typeof sizes

/** Rows as so many sends leave them: half of the counters of number blocks, half of addresses. */
async function fill(db: Database, sends: number): Promise<void> {
  await createApp(db, { id: app, name: app })
  await db.many(sql`create table bare (id int primary key, taken int not null)`)
  await db.many(sql`insert into bare select n, 0 from generate_series(1, 10000) n`)
  const now = sql`extract(epoch from now())`
  await db.many(sql`
    insert into send_standings (name, at, pending, passed, failed, passed_day, passed_ever, places)
    select case when n % 2 = 0 then 'production|bench|block|+23324' || n else 'production|bench|ip|' || md5(n::text) end,
      ${now} - random() * 86400, random() * 3, random() * 3, random(), random() * 9, random() * 9, array[n % 10000]
    from generate_series(1, ${sends}::int) n`)
  await db.many(sql`
    insert into send_decisions (request_id, recipient_id, app_id, environment, country, at, verdict, mode, outcome, matures_at)
    select 'otp_' || md5(n::text), 'rcp_' || md5(n::text), ${app}, 'production', 'GH', now() - n * interval '1 second', 'allowed',
      'block', case when n > 360 then 'converted' end, case when n <= 360 then now() + (360 - n) * interval '1 second' end
    from generate_series(1, ${sends}::int) n`)
  // An app with users, in a country with users: nothing is found about one more.
  await db.many(sql`insert into send_standings (name, at, passed, passed_hour, passed_day, passed_ever)
    select n, ${now}, 5000, 30000, 200000, 2000000 from unnest(${sql.param(rowsOfAll)}::text[]) n`)
  for (const name of ['send_standings', 'send_decisions', 'bare'])
    await db.many(sql`vacuum analyze ${sql.raw(name)}`)
}

const random = randomOf('cost', 1)

/** One row is counted up, if there is room. */
const update = (db: Database) =>
  db.transaction((tx) =>
    tx.one(sql`update bare set taken = taken + 1 where id = ${1 + random.below(10_000)} and taken < 1000000
      returning taken`),
  )

/** Made before the clock runs: drawing a valid number takes as long as half a decision. */
const drawSend = () => ({
  ...({ app, environment: 'production', mode: 'block', rules: {}, country: 'GH' } as const),
  ...{ number: drawNumber(random, 'GH'), ip: drawAddress(random) },
  ...{ requestId: randomId('otp'), recipientId: randomId('rcp'), lifetimeSeconds: 300 },
  ...{ isTrusted: false, isSolved: false },
})

/** Of a send that nothing is found about: the dearest, since all of its counters are written. */
async function decide({ keyring }: Ground, db: Database, send: ReturnType<typeof drawSend>) {
  const { findings } = await db.transaction((tx) => guardSend(tx, keyring, send))
  if (findings.length > 0) throw new Error(`Something was found: ${JSON.stringify(findings)}`)
}

/** The app's users come back, so that none of its sends is found to be too many. */
const calm = (db: Database) =>
  db.many(sql`update send_standings set pending = 0
    where name = any(${sql.param(rowsOfAll)}::text[]) or name between 'production|bench|range|' and 'production|bench|range|~'`)

const rowsOfAll = scopesOf({
  app,
  environment: 'production',
  number: '+233240000000',
  country: 'GH',
})
  .filter(({ kind }) => kind !== 'range' && kind !== 'block')
  .flatMap(rowsOf)

async function measure(ground: Ground, few: Database, many: Database) {
  const subjects: Record<Subject, (send: ReturnType<typeof drawSend>) => Promise<unknown>> = {
    update: () => update(many),
    few: (send) => decide(ground, few, send),
    many: (send) => decide(ground, many, send),
  }
  const names = Object.keys(subjects) as Subject[]
  const medians: Record<Subject, number[]> = { update: [], few: [], many: [] }
  for (let round = 0; round < rounds; round++) {
    const times: Record<Subject, number[]> = { update: [], few: [], many: [] }
    for (let sample = -(round === 0 ? warmUp : 0); sample < samples; sample++)
      for (const name of names) {
        const send = drawSend()
        const startedAt = performance.now()
        await subjects[name](send)
        if (sample >= 0) times[name].push(performance.now() - startedAt)
      }
    for (const name of names) medians[name].push(quantile(times[name], 0.5))
    await Promise.all([calm(few), calm(many)])
  }
  return medians
}

const ratios = (over: readonly number[], under: readonly number[]): number[] =>
  over.map((value, round) => value / (under[round] ?? Number.NaN))

async function main(): Promise<void> {
  // Of the machine; the rest is about parts that do not run here.
  console.log(`${machineFacts().split('\n').slice(0, 2).join('\n')}\n`)
  const ground = await openGround(process.env.DATABASE_URL, settings)
  try {
    await ground.withDatabase((few, fewUrl) =>
      ground.withDatabase(async (many, manyUrl) => {
        await fill(few, sizes.few)
        await fill(many, sizes.many)
        // What filling left to write must not be written while it is measured; only some roles may ask for it.
        await many.many(sql`checkpoint`).catch(() => undefined)
        const asService = [fewUrl, manyUrl].map((url) => createDatabase(url, { max: 1 }))
        const [first, second] = asService
        if (!first || !second) throw new Error('Two databases are needed.')
        const medians = await measure(ground, first, second)
        for (const db of asService) await db.close()
        console.log(
          table(
            [`median of ${samples}, ms: lowest / middle / highest of ${rounds} rounds`, ''],
            [
              ['guarded UPDATE of one row, committed', spread(medians.update)],
              [`decision, ${sizes.few} sends behind it`, spread(medians.few)],
              [`decision, ${sizes.many} sends behind it`, spread(medians.many)],
              ['decision to UPDATE', spread(ratios(medians.many, medians.update))],
              [
                'decision with many to few sends behind it',
                spread(ratios(medians.many, medians.few)),
              ],
            ],
          ),
        )
      }),
    )
  } finally {
    await ground.stop()
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
